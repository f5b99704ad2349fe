"""What can be achieved: lower bound, constrained optimum and best fixed schedule."""
