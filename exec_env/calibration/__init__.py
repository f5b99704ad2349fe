"""From data to a market: slices of trades, quotes and books, estimates with their errors, and a file to play on."""

from exec_env.calibration.fit import Calibration, calibrate, of
from exec_env.data.ticks import Slices, read

__all__ = ["Calibration", "Slices", "calibrate", "of", "read"]
