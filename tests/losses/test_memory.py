import pytest
import torch
from losses.making import unit

from isckit.losses.memory import Memory
from isckit.types import BadInput


def pushes(memory, batches, n=6):
    for seed in range(batches):
        memory.push(unit(n, seed=seed), torch.arange(n) + 10 * seed)


def test_the_newest_embeddings_with_their_labels_stay():
    memory = Memory(16, dim=8, batch_rows=6)
    pushes(memory, 5)
    newest = torch.cat([unit(6, seed=s) for s in range(5)])[-16:]
    labels = torch.cat([torch.arange(6) + 10 * s for s in range(5)])[-16:]
    order = memory.label.argsort()
    assert torch.equal(memory.label[order], labels) and torch.equal(memory.embedding[order], newest)


def test_places_not_yet_filled_are_no_pairs_and_no_row_pairs_with_itself():
    memory = Memory(7, dim=8, batch_rows=3)
    positives, negatives = memory.push(unit(3), torch.tensor([0, 0, 5]))
    assert positives.int().tolist() == [[0, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]
    assert negatives.int().tolist() == [[0, 0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
    memory.push(unit(3), torch.tensor([1, 2, 3]))
    positives, negatives = memory.push(unit(3), torch.tensor([0, 1, 2]))
    # Places 6, 0 and 1 hold the batch itself; 2 has label 5; 3, 4 and 5 have 1, 2 and 3.
    assert positives.int().tolist() == [[0] * 7, [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]]
    assert negatives.int().tolist() == [[1, 1, 1, 1, 1, 1, 0], [0, 1, 1, 0, 1, 1, 1], [1, 0, 1, 1, 0, 1, 1]]


def test_the_memory_is_wholly_in_the_state():
    first, second = Memory(16, dim=8, batch_rows=6), Memory(16, dim=8, batch_rows=6)
    pushes(first, 4)
    second.load_state_dict(first.state_dict())
    again = unit(6, seed=9), torch.arange(6)
    for one, other in zip(first.push(*again), second.push(*again), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first.embedding, second.embedding) and torch.equal(first.label, second.label)


def test_the_memory_brings_no_gradient():
    memory = Memory(8, dim=8, batch_rows=6)
    memory.push(unit(6).requires_grad_(), torch.arange(6))
    assert not memory.embedding.requires_grad


def test_a_memory_smaller_than_a_batch_is_refused():
    Memory(6, dim=8, batch_rows=6)
    with pytest.raises(BadInput, match="batch_images"):
        Memory(5, dim=8, batch_rows=6)
