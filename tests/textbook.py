"""The definition of micro average precision, word for word: the slow twin that the kit is tested against."""


def average_precision_textbook(scores: list[float], correct: list[bool], *, n_pos: int) -> float:
    """Micro average precision by walking down the ranking."""
    total, found, recall = 0.0, 0, 0.0
    ranking = sorted(zip(scores, correct, strict=True), key=lambda row: (-row[0], row[1]))
    for rank, (_, true) in enumerate(ranking, start=1):
        found += true
        total += (found / n_pos - recall) * (found / rank)
        recall = found / n_pos
    return total
