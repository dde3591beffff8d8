"""Tasks make the condition from the image; a new degradation is one file here and touches no network."""
