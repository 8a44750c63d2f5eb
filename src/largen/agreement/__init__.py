"""Theory against measurement: z-scores, fall-off in n, controls."""
