"""The market and what trading in it costs: its equations, and the paths drawn from them."""
