"""The sentences of a comparison that do not depend on its runs, for the terminal, Markdown and the page."""

AGAINST_TITLE = "Against amc, seed by seed"
CORRELATION = "Rank correlation (Spearman) of the candidates' search metric before and after fine-tuning"
LEFT_OUT = "Not compared"
LEGEND_TITLE = "How to read this"

CAPTIONS = {
    "curves": """
        Best so far on the search split over evaluations: mean over seeds; the band goes from the lowest to the highest
        seed. Dotted: the policy used fewer evaluations.""",
    "front": """
        Every trial within the target before fine-tuning, each policy's Pareto front as a line, and the networks found,
        fine-tuned, as stars. Trials far below are left out.""",
    "strategies": """
        What each layer keeps: uniform ratios, and of each policy the seed whose network is best on the search split.
        """,
}

LEGEND = {
    "figures": """
        Means over seeds, with a 95% bootstrap interval of the mean where seeds differ; from few seeds it comes out
        too narrow.""",
    "search": "Top-1 on the search split of the trial that the search chose, before fine-tuning.",
    "test before, test": """
        Top-1 of the network found on the test split, before and after fine-tuning. Policies are sorted by test.""",
    "uniform": "One ratio for all layers, as its own run or, where there is none, as the other runs measured it.",
    "latency": """
        One image. Each run times its network at its own time; speed-up, against the dense network timed in turns
        with it, is the fairer figure.""",
    "to 99%": """
        Until the best so far on the search split is at least 99% of the best that any run of the problem reached.
        Where not all seeds arrive, the mean is of those that do. Seconds are wall time, the policy's part included.""",
    "differences": """
        The policy's minus amc's on the same seed, in percentage points, with a bootstrap interval.""",
    "p": """
        Two-sided, of the sign-flip permutation test of these differences (exact up to 13 seeds), not corrected for
        the number of policies.""",
    "rank correlation": """
        Only the best trials of a run are fine-tuned; they differ by less than all trials do, which lowers it.""",
}


def one_line(sentence: str) -> str:
    """Return a sentence of this module without its line breaks."""
    return " ".join(sentence.split())
