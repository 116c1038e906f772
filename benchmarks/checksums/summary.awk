# SPDX-License-Identifier: Apache-2.0
# summary.awk: what checksums cost, from the lines of all rounds, after common/rounds.awk.

{
    pattern = $(column["pattern"]); key = pattern SUBSEP $(column["direction"])
    if (!(pattern in known)) { known[pattern]; patterns[++pattern_count] = pattern }
    value[$(column["target"]), key, $1] = $(column["bytes"]) / 1048576 / ($(column["transfer_s"]) + 1e-9)
}

END {
    split("write read", directions, " ")
    printf "Medians, MiB/s, and the median of the rounds' ratios:\n%-18s %-6s %10s %10s  %s\n", "pattern", "", "with", "without",
        "with / without"
    for (p = 1; p <= pattern_count; p++)
        for (d = 1; d <= 2; d++) {
            key = patterns[p] SUBSEP directions[d]
            medians("with", key); with_rate = median
            medians("without", key); without_rate = median
            sample_begin()
            for (r = 1; r <= rounds; r++)
                if (("with", key, r) in value && ("without", key, r) in value)
                    sample_add(value["with", key, r] / value["without", key, r])
            sample_end()
            printf "%-18s %-6s %10.0f %10.0f  %.2f (%.2f to %.2f)\n", patterns[p], directions[d], with_rate, without_rate, median,
                least, most
        }
}
