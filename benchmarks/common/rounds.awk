# SPDX-License-Identifier: Apache-2.0
# rounds.awk: what the summaries of the MPI benchmarks share. Stands in front of one of them, as a program for
# the lines of all rounds, whose first value is the round's number.
#
# Sets column[NAME] to the number of the column with that name, and rounds and rows to how many there are. The
# summary puts what it wants medians of into value[WHAT, KEY, ROUND].

BEGIN { FS = "," }

$1 == "round" {
    for (i = 1; i <= NF; i++) column[$i] = i
    next
}

{
    if ($1 > rounds) rounds = $1
    rows++
}

# Sets median, least and most from the values that were added since sample_begin(). 0 when there were none.
function sample_begin() { sample_count = 0 }
function sample_add(value) { sample[++sample_count] = value }
function sample_end(   i, j, held) {
    for (i = 2; i <= sample_count; i++) {
        held = sample[i]
        for (j = i - 1; j >= 1 && sample[j] > held; j--) sample[j + 1] = sample[j]
        sample[j + 1] = held
    }
    least = sample[1]; most = sample[sample_count]
    i = int((sample_count + 1) / 2)
    median = sample_count % 2 ? sample[i] : (sample[i] + sample[i + 1]) / 2
    return sample_count > 0
}

# The median of what the rounds have.
function medians(what, key,   r) {
    sample_begin()
    for (r = 1; r <= rounds; r++)
        if ((what, key, r) in value) sample_add(value[what, key, r])
    return sample_end()
}

# The median of the rounds' ratios of two rates.
function ratios(above, below,   r) {
    sample_begin()
    for (r = 1; r <= rounds; r++)
        if (("rate", above, r) in value && ("rate", below, r) in value)
            sample_add(value["rate", above, r] / value["rate", below, r])
    return sample_end()
}

END { if (!rows) exit 1 }
