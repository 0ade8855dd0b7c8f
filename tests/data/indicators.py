"""Makes tests/data/indicators.tsv: real candles and what TA-Lib (with its C library) makes of them.

    pip install TA-Lib numpy
    python3 tests/data/indicators.py CANDLES.csv.gz > tests/data/indicators.tsv

The candles are `ts_ms,open,high,low,close,volume`; every 30 one-minute bars of the file's first 12,000 are folded into one.
"""

import csv
import gzip
import sys

import numpy as np
import talib

rows = [[float(x) for x in row] for row in list(csv.reader(gzip.open(sys.argv[1], "rt")))[1:12001]]
bars = []
for at in range(0, len(rows), 30):
    part = rows[at : at + 30]
    bars.append((part[0][1], max(r[2] for r in part), min(r[3] for r in part), part[-1][4], sum(r[5] for r in part)))
_, high, low, close, _ = (np.array(column) for column in zip(*bars))
line, signal, _ = talib.MACD(close, 12, 26, 9)
upper, middle, lower = talib.BBANDS(close, 20, 2, 2, 0)
columns = {
    "high": high,
    "low": low,
    "close": close,
    "sma20": talib.SMA(close, 20),
    "ema20": talib.EMA(close, 20),
    "rsi14": talib.RSI(close, 14),
    "macd": line,
    "macd_signal": signal,
    "bb_upper": upper,
    "bb_middle": middle,
    "bb_lower": lower,
    "atr14": talib.ATR(high, low, close, 14),
    "max20": talib.MAX(high, 20),
    "min20": talib.MIN(low, 20),
}
# TA-Lib shows the MACD only where its signal is known, too.
print(f"# TA-Lib {talib.__version__} ({talib.__ta_version__.decode()}); BTC perpetual, half hours of January 2022")
print("\t".join(columns))
for at in range(len(close)):
    print("\t".join("" if np.isnan(column[at]) else repr(float(column[at])) for column in columns.values()))
