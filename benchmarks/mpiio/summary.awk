# SPDX-License-Identifier: Apache-2.0
# summary.awk: medians, ratios and counts from the lines of all rounds, after common/rounds.awk. With csv=FILE
# the same goes there: what,pattern,direction,median,least,most,wanted,holds.

BEGIN {
    target_count = split("auto direct two_phase independent local-c local-i", targets, " ")
    split("write read", directions, " ")
}

{
    pattern = $(column["pattern"]); target = $(column["target"]); direction = $(column["direction"])
    if (!(pattern in known)) { known[pattern]; patterns[++pattern_count] = pattern }
    key = key_of(pattern, target, direction)
    value["rate", key, $1] = $(column["bytes"]) / 1048576 / ($(column["transfer_s"]) + 1e-9)
    bytes[key] = $(column["bytes"])
    requests[key] = $(column["requests"])
    store[key] = $(column["store_operations"])
    wire[key] = $(column["wire_bytes"])
}

function key_of(pattern, target, direction) { return pattern SUBSEP target SUBSEP direction }

function save(what, pattern, direction, wanted,   holds) {
    holds = wanted == "" ? "" : (median >= wanted ? "yes" : "no")
    if (csv != "")
        printf "%s,%s,%s,%.4g,%.4g,%.4g,%s,%s\n", what, pattern, direction, median, least, most, wanted, holds >csv
    return holds
}

function mark(what, pattern, direction, wanted,   holds) {
    holds = save(what, pattern, direction, wanted)
    marks[++mark_count] = sprintf("  %-14s %-6s %-44s %5.2f (%.2f to %.2f), wanted %.2f", \
        holds == "yes" ? "holds" : "DOES NOT HOLD", direction, what " of " pattern, median, least, most, wanted)
    if (holds != "yes") misses++
}

function cell(text) { printf " %12s", text }

function rate_table(   p, d, t) {
    printf "\nMedians, MiB/s (the transfer alone, without opening and closing):\n%-18s %-5s", "pattern", ""
    for (t = 1; t <= target_count; t++) cell(targets[t])
    print ""
    for (p = 1; p <= pattern_count; p++)
        for (d = 1; d <= 2; d++) {
            printf "%-18s %-5s", patterns[p], directions[d]
            for (t = 1; t <= target_count; t++) {
                if (!medians("rate", key_of(patterns[p], targets[t], directions[d]))) { cell("-"); continue }
                save(targets[t], patterns[p], directions[d], "")
                cell(sprintf("%.0f", median))
            }
            print ""
        }
}

# The strategy whose median is the better one.
function best_of(pattern, direction,   direct) {
    direct = medians("rate", key_of(pattern, "direct", direction)) ? median : 0
    return medians("rate", key_of(pattern, "two_phase", direction)) && median > direct ? "two_phase" : "direct"
}

function ratio_cell(pattern, target, target2, direction, wanted, what) {
    if (!ratios(key_of(pattern, target, direction), key_of(pattern, target2, direction))) { cell("-"); return }
    if (wanted != "") mark(what, pattern, direction, wanted)
    else save(what, pattern, direction, "")
    cell(sprintf("%.2f%s", median, wanted != "" && median < wanted ? "!" : ""))
}

function ratio_table(   p, d, name, way) {
    printf "\nRatios (! marks what misses a wanted ratio):\n%-18s %-5s", "pattern", ""
    cell("auto/"); cell("auto/"); cell("independent/"); cell("direct/"); cell("auto/")
    printf "\n%-18s %-5s", "", ""
    cell("independent"); cell("local-c"); cell("local-i"); cell("two_phase"); cell("better")
    print ""
    for (p = 1; p <= pattern_count; p++)
        for (d = 1; d <= 2; d++) {
            name = patterns[p]; way = directions[d]
            printf "%-18s %-5s", name, way
            ratio_cell(name, "auto", "independent", way, 0.95, "auto/independent")
            ratio_cell(name, "auto", "local-c", way, "", "auto/local-c")
            ratio_cell(name, "independent", "local-i", way, "", "independent/local-i")
            ratio_cell(name, "direct", "two_phase", way, "", "direct/two_phase")
            ratio_cell(name, "auto", best_of(name, way), way, 0.95, "auto/better of both")
            print ""
        }
}

function across(above, target, wanted,   d) {
    for (d = 1; d <= 2; d++) {
        if (!ratios(key_of(above, target, directions[d]), key_of("contiguous", target, directions[d]))) continue
        if (wanted != "") mark(above "/contiguous", target, directions[d], wanted)
        else {
            save(above "/contiguous", target, directions[d], "")
            marks[++mark_count] = sprintf("  %-14s %-6s %-44s %5.2f (%.2f to %.2f)", "", directions[d], \
                above "/contiguous of " target, median, least, most)
        }
    }
}

function count_table(   p, d, t, key) {
    printf "\nRequests to storage servers, store operations, wire bytes over payload:\n%-18s %-5s", "pattern", ""
    for (t = 1; t <= 4; t++) printf " %22s", targets[t]
    print ""
    for (p = 1; p <= pattern_count; p++)
        for (d = 1; d <= 2; d++) {
            printf "%-18s %-5s", patterns[p], directions[d]
            for (t = 1; t <= 4; t++) {
                key = key_of(patterns[p], targets[t], directions[d])
                if (requests[key] == "") { printf " %22s", "-"; continue }
                printf " %22s", sprintf("%d %d %.3f", requests[key], store[key], wire[key] / bytes[key])
                median = requests[key]; least = most = median
                save("requests " targets[t], patterns[p], directions[d], "")
                median = wire[key] / bytes[key]; least = most = median
                save("wire/payload " targets[t], patterns[p], directions[d], "")
            }
            print ""
        }
}

END {
    if (csv != "") print "what,pattern,direction,median,least,most,wanted,holds" >csv
    rate_table()
    ratio_table()
    count_table()
    across("interleaved", "auto", 0.9)
    across("interleaved-each", "auto", 0.9)
    across("interleaved-call", "auto", 0.9)
    across("interleaved-chunk", "auto", "")
    across("interleaved", "independent", "")
    across("interleaved-each", "independent", "")
    across("interleaved-chunk", "independent", "")
    printf "\nWhat is wanted, median (least to most):\n"
    for (m = 1; m <= mark_count; m++) print marks[m]
    printf "%d of the wanted ratios do not hold.\n", misses
}
