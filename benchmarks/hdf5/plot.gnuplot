# SPDX-License-Identifier: Apache-2.0
# plot.gnuplot: the medians of all kernels and targets: large data sets above, small ones
# below. Wants folder, out and kind (svg or png).
if (kind eq "svg") set terminal svg size 1200,800 font "sans,12" background "white"
if (kind eq "png") set terminal pngcairo size 1200,800 font "sans,11"
set output out
set style data histogram
set style histogram cluster gap 1
set style fill solid 0.85 border -1
set key outside top center horizontal
set bmargin 4
set grid ytics
set yrange [0:*]
names = "MiB sets"
is_there(name) = int(system("wc -l <'" . folder . "/plot-" . name . "'")) > 0
rows = 0
do for [name in names] { rows = rows + is_there(name) }
set multiplot layout rows,1
do for [name in names] {
    if (is_there(name)) {
        file = folder . "/plot-" . name
        set ylabel (name eq "MiB" ? "MiB/s" : "data sets/s")
        plot file using 2:xtic(1) title "MPI-IO on Weft" lc rgb "#1b5e9e", \
             "" using 3 title "the same, collective metadata" lc rgb "#a9cce8", \
             "" using 4 title "Weft's driver" lc rgb "#2e8b57", \
             "" using 5 title "the same, collective metadata" lc rgb "#a8d8b9", \
             "" using 6 title "MPI-IO, local" lc rgb "#b0482e", \
             "" using 7 title "the same, collective metadata" lc rgb "#e8a58c"
    }
}
unset multiplot
