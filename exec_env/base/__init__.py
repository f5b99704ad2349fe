"""What everything else rests on: arrays of three kinds, checks, errors, files, standard errors."""
