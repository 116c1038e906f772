# SPDX-License-Identifier: Apache-2.0
# plot.gnuplot: the medians of all patterns and targets, over those of independent
# calls on Weft. Wants folder, out and kind (svg or png).
if (kind eq "svg") set terminal svg size 1200,800 font "sans,12" background "white"
if (kind eq "png") set terminal pngcairo size 1200,800 font "sans,11"
set output out
set multiplot layout 2,1
set style data histogram
set style histogram cluster gap 1
set style fill solid 0.85 border -1
set key outside right top
set grid ytics
set xtics rotate by -20 noenhanced
set yrange [0:*]
set ylabel "MiB/s"
do for [direction in "write read"] {
    file = folder . "/plot-" . direction
    set title direction noenhanced
    plot file using 2:xtic(1) title "Weft auto" lc rgb "#1b5e9e", \
         "" using 3 title "Weft direct" lc rgb "#5b9bd5", \
         "" using 4 title "Weft two\\_phase" lc rgb "#a9cce8", \
         "" using 5 title "Weft independent" lc rgb "#2e8b57", \
         "" using 6 title "local, collective" lc rgb "#b0482e", \
         "" using 7 title "local, independent" lc rgb "#e8a58c"
}
unset multiplot
