#!/bin/sh
# Hunt the example player and keep what the hunt leaves behind in out/demo; of the mended twin in out/demo-mended.
# A leak is what the leaking player deserves and the mended one does not: any other end fails.
set -u
heaptrail=$1
twin=$2
out=out/demo
player=rtplayer
[ "$twin" = mended ] && player=rtplayer-mended out=out/demo-mended

mkdir -p "$out"
"$heaptrail" hunt examples/rtplayer/heaptrail.toml --elf "out/rtplayer/$player" \
    --console "exec:../../out/rtplayer/$player --rounds-per-second 20 --speed 0" \
    --capture "$out/capture.cast" --output - --output "$out/report.html" --output "$out/report.json"
status=$?

echo
echo "heaptrail left with exit status $status (0 no leak, 1 leak, 3 inconclusive)."
echo "Open $out/report.html in a browser; $out/capture.cast holds the console, $out/report.json the report."
case "$twin:$status" in
leaking:1 | mended:0 | mended:3) exit 0 ;;
*) echo "that is not what the $twin player deserves" >&2; exit 1 ;;
esac
