"""Classical execution strategies, wrapped as agents."""
