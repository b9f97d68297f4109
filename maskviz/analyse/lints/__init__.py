"""Rules that tell whether something fell into a known trap: from a case to findings, one file per group."""
