# SPDX-License-Identifier: Apache-2.0
# summary.awk: medians and ratios from the lines of all rounds, after common/rounds.awk. BENCH_SERIES has the
# series that ran, BENCH_TO the one that ratios are to. With csv=FILE the same goes there:
# what,case,phase,series,median,least,most,unit.

BEGIN {
    series_count = split(ENVIRON["BENCH_SERIES"], series, " ")
    base = ENVIRON["BENCH_TO"]
    # What Weft wants to have over another file system of its kind.
    wanted["mdtest-easy", "create"] = wanted["mdtest-easy", "stat"] = wanted["mdtest-easy", "remove"] = 1.3
    wanted["mdtest-hard", "create"] = wanted["mdtest-hard", "stat"] = 1.2
    wanted["mdtest-hard", "read"] = wanted["mdtest-hard", "remove"] = 1.2
    wanted["ior-easy", "write"] = wanted["ior-easy", "read"] = 1
    wanted["ior-hard", "write"] = wanted["ior-hard", "read"] = 1.2
    wanted["ior-random", "write"] = wanted["ior-random", "read"] = 1.3
}

{
    row = $(column["case"]) SUBSEP $(column["phase"])
    if (!(row in unit)) rows_in_order[++row_count] = row
    unit[row] = $(column["unit"])
    value["rate", row SUBSEP $(column["series"]), $1] = $(column["rate"])
}

function save(what, which, unit_of) {
    split(row, names, SUBSEP)
    if (csv != "")
        printf "%s,%s,%s,%s,%.4g,%.4g,%.4g,%s\n", what, names[1], names[2], which, median, least, most, unit_of >csv
}

function cell(text) { printf " %20s", text }

function head(title, without,   s) {
    printf "\n%s\n%-12s %-7s %-6s", title, "case", "phase", ""
    for (s = 1; s <= series_count; s++)
        if (series[s] != without) cell(series[s])
    print ""
}

function begin(text) {
    split(row, names, SUBSEP)
    printf "%-12s %-7s %-6s", names[1], names[2], text
}

function rate_table(   r, s) {
    head("Medians (least to most)", "")
    for (r = 1; r <= row_count; r++) {
        row = rows_in_order[r]
        begin(unit[row])
        for (s = 1; s <= series_count; s++) {
            if (!medians("rate", row SUBSEP series[s])) { cell("-"); continue }
            save("rate", series[s], unit[row])
            cell(sprintf("%.0f (%.0f-%.0f)", median, least, most))
        }
        print ""
    }
}

# ! marks what misses what is wanted, which is said only of another file system than the local one.
function ratio_table(   r, s, mark) {
    head("Ratios to " base ", medians of the rounds' ratios (least to most)", base)
    for (r = 1; r <= row_count; r++) {
        row = rows_in_order[r]
        begin("")
        for (s = 1; s <= series_count; s++) {
            if (series[s] == base) continue
            if (!ratios(row SUBSEP series[s], row SUBSEP base)) { cell("-"); continue }
            save("/" base, series[s], "")
            mark = ""
            if (base == "other" && series[s] != "local" && row in wanted) {
                wishes++
                if (median < wanted[row]) { mark = "!"; misses++ }
            }
            cell(sprintf("%.2f%s (%.2f-%.2f)", median, mark, least, most))
        }
        print ""
    }
    if (wishes) printf "%d of %d wanted ratios do not hold (!).\n", misses, wishes
}

END {
    if (csv != "") print "what,case,phase,series,median,least,most,unit" >csv
    rate_table()
    ratio_table()
}
