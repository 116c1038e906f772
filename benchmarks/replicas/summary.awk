# SPDX-License-Identifier: Apache-2.0
# summary.awk: what replicas cost, from the lines of all rounds, after common/rounds.awk. With csv=FILE the same goes
# there: pattern,direction,one,more,ratio,least,most.

BEGIN { split("write read", directions, " ") }

{
    pattern = $(column["pattern"])
    if (!(pattern in known)) { known[pattern]; patterns[++pattern_count] = pattern }
    key = pattern SUBSEP $(column["target"]) SUBSEP $(column["direction"])
    value["rate", key, $1] = $(column["bytes"]) / 1048576 / ($(column["transfer_s"]) + 1e-9)
    payload[key] = $(column["wire_bytes"]) / $(column["bytes"])
}

END {
    if (csv != "") print "pattern,direction,one,more,ratio,least,most" >csv
    printf "\n%-18s %-5s %12s %12s %22s %14s\n", "pattern", "", "1, MiB/s", "more, MiB/s", "ratio", "wire/payload"
    for (p = 1; p <= pattern_count; p++)
        for (d = 1; d <= 2; d++) {
            first = patterns[p] SUBSEP "one" SUBSEP directions[d]
            second = patterns[p] SUBSEP "more" SUBSEP directions[d]
            medians("rate", first); one = median
            medians("rate", second); more = median
            ratios(second, first)
            printf "%-18s %-5s %12.0f %12.0f %22s %14s\n", patterns[p], directions[d], one, more, \
                sprintf("%.2f (%.2f to %.2f)", median, least, most), \
                sprintf("%.3f %.3f", payload[first], payload[second])
            if (csv != "")
                printf "%s,%s,%.4g,%.4g,%.4g,%.4g,%.4g\n", patterns[p], directions[d], one, more, median, least, most >csv
        }
}
