"""What the numbers are: pure functions of arrays, one file per metric."""
