"""What a number is: an estimate and its uncertainty, how it is named, and what its metric means."""
