"""One order in one asset: the first problem, with its actions, observation and presets."""
