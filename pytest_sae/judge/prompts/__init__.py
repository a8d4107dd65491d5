"""The questions that a judge is asked: one module per prompt, with its builder and its reader."""
