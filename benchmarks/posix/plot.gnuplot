# SPDX-License-Identifier: Apache-2.0
# plot.gnuplot: the medians of all cases and series: operations a second above, MiB/s below. Wants folder, out
# and kind (svg or png).
if (kind eq "svg") set terminal svg size 1200,800 font "sans,12" background "white"
if (kind eq "png") set terminal pngcairo size 1200,800 font "sans,11"
set output out
set style data histogram
set style histogram cluster gap 1
set style fill solid 0.85 border -1
set key outside top center horizontal
set bmargin 4
set grid ytics
# Local stats are tens of times as fast as remote reads: on a linear axis those would not be seen.
set logscale y
set datafile missing "?"
names = "ops MiB"
colours = "#b0482e #1b5e9e #2e8b57 #8a6d3b"
file_of(name) = folder . "/plot-" . name
is_there(name) = int(system("wc -l <'" . file_of(name) . "'")) > 0
rows = 0
do for [name in names] { rows = rows + is_there(name) }
set multiplot layout rows,1
do for [name in names] {
    if (is_there(name)) {
        columns = int(system("head -n 1 '" . file_of(name) . "' | wc -w"))
        set ylabel (name eq "MiB" ? "MiB/s" : "operations/s")
        plot for [i=2:columns] file_of(name) using i:xtic(1) title columnheader(i) \
            lc rgb word(colours, i - 1)
    }
}
unset multiplot
