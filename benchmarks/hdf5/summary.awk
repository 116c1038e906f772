# SPDX-License-Identifier: Apache-2.0
# summary.awk: medians, ratios and counts from the lines of all rounds, after common/rounds.awk. With csv=FILE the
# same goes there: what,kernel,direction,target,median,least,most,unit.
#
# The rate of large data sets is that of the transfers alone; "whole" has all other parts in it. The
# rate of small ones, whose cost is the metadata, is that of the whole.

BEGIN {
    target_count = split("mpio mpio-cm vfd vfd-cm local local-cm", targets, " ")
    direction_count = split("write read read-all", directions, " ")
    part_count = split("open define transfer flush close", parts, " ")
    count_count = split("requests store_operations other_requests metadata_requests", counts, " ")
}

{
    kernel = $(column["kernel"]); target = $(column["target"]); direction = $(column["direction"])
    if (!(kernel in known)) { known[kernel]; kernels[++kernel_count] = kernel }
    key = kernel SUBSEP direction SUBSEP target
    there[key]
    items[key] = $(column["items"]); calls[key] = $(column["calls"]); bytes[key] = $(column["bytes"])
    is_small[kernel] = $(column["io_mode"]) == ""
    modes[key] = $(column["io_mode"])
    whole = 1e-9
    for (i = 1; i <= part_count; i++) {
        value["time " parts[i], key, $1] = $(column[parts[i] "_s"])
        whole += $(column[parts[i] "_s"])
    }
    value["time whole", key, $1] = whole
    if (is_small[kernel])
        value["rate", key, $1] = $(column["items"]) / whole
    else
        value["rate", key, $1] = $(column["bytes"]) / 1048576 / ($(column["transfer_s"]) + 1e-9)
    value["whole rate", key, $1] = (is_small[kernel] ? items[key] : bytes[key] / 1048576) / whole
    value["cpu", key, $1] = $(column["ranks_cpu_s"])
    for (i = 1; i <= count_count; i++)
        if ($(column[counts[i]]) != "") value[counts[i], key, $1] = $(column[counts[i]])
    if ($(column["wire_bytes"]) != "") value["wire", key, $1] = $(column["wire_bytes"]) / bytes[key]
}

function save(what, unit) {
    if (csv != "")
        printf "%s,%s,%s,%s,%.4g,%.4g,%.4g,%s\n", what, kernel, direction, target, median, least, most, unit >csv
}

function cell(text) { printf " %10s", text }

# Prints one median, and saves it.
function median_cell(what, unit, format, factor) {
    if (!medians(what, key)) { cell("-"); return }
    save(what, unit)
    cell(sprintf(format, median * factor))
}

# The same target of another kind: with collective metadata as this one, or without.
function other(kind) { return kernel SUBSEP direction SUBSEP kind (target ~ /-cm$/ ? "-cm" : "") }

function ratio_cell(kind) {
    if (target ~ "^" kind "(-cm)?$" || !ratios(key, other(kind))) { cell(""); return }
    save("/" kind, "")
    cell(sprintf("%.2f", median))
}

function rate_row(   unit) {
    unit = is_small[kernel] ? "sets/s" : "MiB/s"
    if (!medians("rate", key)) { cell("-"); return }
    save("rate", unit)
    cell(sprintf("%.0f", median)); cell(sprintf("%.0f-%.0f", least, most)); cell(unit)
    ratio_cell("mpio"); ratio_cell("local")
    median_cell("whole rate", unit, "%.0f", 1)
}

function part_row(   i) {
    for (i = 1; i <= part_count; i++) median_cell("time " parts[i], "s", "%.1f", 1000)
    median_cell("time whole", "s", "%.1f", 1000)
    median_cell("cpu", "s", "%.1f", 1000)
}

function count_row(   i) {
    cell(calls[key])
    for (i = 1; i <= count_count; i++) median_cell(counts[i], "", "%.0f", 1)
    median_cell("wire", "", "%.3f", 1)
    if (medians("requests", key)) cell(sprintf("%.2f", median / calls[key]))
    printf "  %s", modes[key]
}

function table(which,   k, d, t) {
    for (k = 1; k <= kernel_count; k++)
        for (d = 1; d <= direction_count; d++)
            for (t = 1; t <= target_count; t++) {
                kernel = kernels[k]; direction = directions[d]; target = targets[t]
                key = kernel SUBSEP direction SUBSEP target
                if (!(key in there) || (which == "counts" && target ~ /^local/)) continue
                printf "%-16s %-8s %-8s", kernel, direction, target
                if (which == "rates") rate_row()
                else if (which == "parts") part_row()
                else count_row()
                print ""
            }
}

function heading(title) {
    printf "\n%s:\n%-16s %-8s %-8s", title, "kernel", "", "target"
}

END {
    if (csv != "") print "what,kernel,direction,target,median,least,most,unit" >csv
    heading("Medians and ratios; \"whole\" with opening, creating, flushing and closing")
    cell("rate"); cell("range"); cell(""); cell("/mpio"); cell("/local"); cell("whole"); print ""
    table("rates")
    heading("Times of the parts and processor time of all ranks, ms")
    for (i = 1; i <= part_count; i++) cell(parts[i])
    cell("whole"); cell("CPU"); print ""
    table("parts")
    heading("Calls of a rank, requests to storage servers, wire bytes over payload, requests of all ranks for a call of each")
    cell("calls"); cell("data"); cell("store"); cell("other"); cell("metadata"); cell("wire"); cell("a call"); print ""
    table("counts")
}
