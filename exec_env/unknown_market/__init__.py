"""Orders one after the other in a market whose impact is not told: what learning it from one's own fills is worth."""
