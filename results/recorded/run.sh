#!/usr/bin/env bash
# A recorded book, from data to a verdict: calibrate on its first 60 %, train on the calibrated market, evaluate on the
# rows after them that nothing has seen (but for a purge of one episode), with fills by impact and by walking the book.
#
#   bash results/recorded/run.sh btc_1min_book.csv runs/recorded
#
# The book: 400 one-minute snapshots of BTC/USD with 15 levels a side and the notional of market orders of the minute
# before each, 2021-04-17 17:22 UTC onward, from order_execution/BTC of github.com/TradeMaster-NTU/TradeMaster.
# Steps that are done already are not done again.
set -euo pipefail
book=$1 out=$2
mkdir -p "$out"
columns=(mid=midpoint "volume=(buys + sells) / midpoint" "flow=(buys - sells) / midpoint"
  "bid_price_#=midpoint * (1 + bids_distance_#)" "bid_size_#=bids_notional_# / midpoint"
  "ask_price_#=midpoint * (1 + asks_distance_#)" "ask_size_#=asks_notional_# / midpoint")

[ -e "$out/market.yaml" ] || exec-env calibrate "$book" --split 0.6 --minutes 1 --hours-per-day 24 --stamp end \
  --columns "${columns[@]}" --quiet \
  --out "$out/market.yaml" --report "$out/market.html" > "$out/calibration.txt"

order=(--market "$out/market.yaml" --n-steps 30 --quiet)
tape=(--tape "$book" --stamp end --split 0.6 --columns "${columns[@]}")
for shares in 5 20; do
  for seed in 0 1 2; do
    for agent in pathwise dqn; do
      run=$out/$agent-$shares-$seed
      [ -e "$run" ] || exec-env train $agent "${order[@]}" --shares $shares --seed $seed --run "$run"
    done
    run=$out/recorded-pathwise-$shares-$seed # trained on the recorded rows themselves, walking their book
    [ -e "$run" ] || exec-env train pathwise "${order[@]}" "${tape[@]}" --fills book --shares $shares \
      --seed $seed --run "$run"
  done
  agents=(twap pov almgren-chriss adaptive "$out"/{pathwise,dqn,recorded-pathwise}-$shares-?)
  [ -e "$out/simulated-$shares" ] || exec-env evaluate "${agents[@]}" "${order[@]}" --shares $shares \
    --episodes 20000 --out "$out/simulated-$shares"
  for side in sell buy; do
    for fills in impact book; do
      case=$out/$fills-$side-$shares
      [ -e "$case" ] || exec-env evaluate "${agents[@]}" "${order[@]}" --shares $shares --side $side \
        "${tape[@]}" --starts rolling --fills $fills --out "$case"
    done
  done
done
# One table of all: the case, then the columns of per_agent.csv.
for case in "$out"/{simulated,impact-sell,impact-buy,book-sell,book-buy}-{5,20}; do
  awk -v case="$(basename "$case")" 'NR == 1 { print "case," $0 } NR > 1 { print case "," $0 }' "$case/per_agent.csv"
done | awk 'NR == 1 || !/^case,/' > "$out/summary.csv"
