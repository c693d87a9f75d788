"""What a language model carries from token to token, by itself: copies, rows, files, refusals."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.irregular import irregular as irregular
from vimnp.engine.state import State, StateSizes
from vimnp.engine.state_file import FORMAT_VERSION
from vimnp.errors import StateError

SIZES = StateSizes(n_layer=3, d_conv=4, d_inner=5, d_state=2)
DIGEST = "0123456789abcdef" * 4


def filled(batch: int = 2, sizes: StateSizes = SIZES, seed: int = 0) -> State:
    """A state of random numbers, whose rows have seen a different number of tokens each."""
    state, rng = State(sizes, batch, digest=DIGEST), np.random.default_rng(seed)
    for view in (*state.conv, *state.ssm):
        view[...] = rng.standard_normal(view.shape)
    state.ids = [list(range(row, 3 * row + 4)) for row in range(batch)]
    return state


def assert_same(found: State, expected: State) -> None:
    assert (found.sizes, found.digest, found.ids) == (expected.sizes, expected.digest, expected.ids)
    np.testing.assert_array_equal(found.memory, expected.memory, strict=True)


def load(path: Path, sizes: StateSizes = SIZES, digest: str = DIGEST) -> State:
    return State.load(path, sizes, digest=digest, num_ids=100)


# ---- In memory -----------------------------------------------------------------------------------

any_sizes = st.builds(
    StateSizes, st.integers(1, 4), st.integers(1, 5), st.integers(1, 40), st.integers(1, 20)
)


@given(sizes=any_sizes, batch=st.integers(1, 3))
def test_arrays_lie_where_the_layout_says(sizes: StateSizes, batch: int) -> None:
    state, layout = State(sizes, batch), State.layout(sizes)
    assert state.memory.shape == (batch, layout.floats)
    assert state.memory.flags.c_contiguous
    assert state.memory.ctypes.data % 64 == 0
    assert not state.memory.any()
    assert len(layout.offsets) == len(state.conv) == len(state.ssm) == sizes.n_layer
    covered = np.zeros(layout.floats, int)
    for number, (conv, ssm) in enumerate(layout.offsets):
        for offset, views, shape in ((conv, state.conv, sizes.conv), (ssm, state.ssm, sizes.ssm)):
            assert offset % 16 == 0
            view = views[number]
            assert view.shape == (batch, *shape)
            view[...] = np.random.default_rng(offset).standard_normal(view.shape)
            part = state.memory[:, offset : offset + view[0].size]
            np.testing.assert_array_equal(part, view.reshape(batch, -1))
            covered[offset : offset + view[0].size] += 1
    assert covered.max() == 1
    assert not state.memory[:, covered == 0].any()
    assert layout.floats - covered.sum() < 32 * sizes.n_layer


@pytest.mark.parametrize("way", [State.copy, copy.copy, copy.deepcopy])
def test_a_copy_goes_its_own_way(way) -> None:
    state = filled()
    kept = pickle.loads(pickle.dumps(state))
    other = way(state)
    assert_same(other, state)
    other.memory += 1
    other.ids[0].append(7)
    assert_same(state, kept)


def test_a_pickle_has_its_arrays_in_its_memory() -> None:
    found = pickle.loads(pickle.dumps(filled()))
    assert_same(found, filled())
    assert all(np.shares_memory(view, found.memory) for view in (*found.conv, *found.ssm))


def test_rows_are_taken_and_joined() -> None:
    state = filled(batch=3)
    assert len(state) == state.batch == 3
    rows = list(state)
    assert [row.batch for row in rows] == [1, 1, 1]
    assert_same(State.join(rows), state)
    assert_same(State.join([State.join(rows[:2]), rows[2]]), state)
    assert_same(state[-1], rows[2])
    rows[0].memory += 1
    assert_same(state, filled(batch=3))
    with pytest.raises(IndexError):
        state[3]


def test_joining_nothing_or_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(StateError, match="no states to join; expected one or more"):
        State.join([])
    with pytest.raises(StateError, match="other weights"):
        State.join([filled(), State(SIZES, digest="another")])
    with pytest.raises(StateError, match="n_layer 3, d_conv 4, d_inner 5, d_state 3; expected"):
        State.join([filled(), State(SIZES._replace(d_state=3), digest=DIGEST)])


def test_a_pass_adds_its_ids() -> None:
    state = filled()
    before = [list(row) for row in state.ids]
    with state.advance(np.array([[5, 6], [7, 8]], np.intc)):
        pass
    assert state.ids == [before[0] + [5, 6], before[1] + [7, 8]]
    assert all(type(number) is int for row in state.ids for number in row)


def test_an_interrupted_pass_leaves_a_state_that_is_refused(tmp_path: Path) -> None:
    state = filled()
    with pytest.raises(KeyboardInterrupt), state.advance(np.zeros((2, 1), np.intc)):
        raise KeyboardInterrupt
    uses = [
        state.copy,
        state.check_whole,
        lambda: state[0],
        lambda: State.join([filled(), state]),
        lambda: pickle.dumps(state),
        lambda: state.save(tmp_path / "state.npz"),
        state.advance(np.zeros((2, 1), np.intc)).__enter__,
    ]
    for use in uses:
        with pytest.raises(StateError, match=r"was interrupted.*state\.copy.*model\.new_state"):
            use()
    assert "interrupted" in repr(state)
    assert not list(tmp_path.iterdir())


def test_one_pass_at_a_time_has_a_state() -> None:
    state = filled()
    with state.advance(np.zeros((2, 1), np.intc)), pytest.raises(StateError, match="is not over"):
        state.copy()
    state.copy()


def test_of_several_threads_one_gets_the_state() -> None:
    state, begun, done = filled(), threading.Barrier(8), threading.Event()
    outcomes: list[str] = []

    def use() -> None:
        begun.wait()
        try:
            with state.advance(np.zeros((2, 1), np.intc)):
                outcomes.append("had")
                done.wait(60)
        except StateError:
            outcomes.append("refused")
            if outcomes.count("refused") == 7:
                done.set()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["had"] + 7 * ["refused"]
    assert state.ids == [[*row, 0] for row in filled().ids]


# ---- Files ---------------------------------------------------------------------------------------


@given(sizes=any_sizes, batch=st.integers(1, 3))
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, sizes: StateSizes, batch: int
) -> None:
    path = tmp_path_factory.mktemp("states") / "state.npz"
    state = filled(batch, sizes)
    assert state.save(path) == path.stat().st_size
    assert_same(load(path, sizes), state)


def test_numpy_reads_a_file_without_pickle_and_the_same_state_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    for name in ("first.npz", "second.npz"):
        filled().save(tmp_path / name)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    with np.load(tmp_path / "first.npz", allow_pickle=False) as file:
        assert file["conv"].shape == (2, 3, 3, 5)
        np.testing.assert_array_equal(file["ssm"][:, 1], filled().ssm[1])


def test_a_state_that_has_seen_nothing_is_saved(tmp_path: Path) -> None:
    State(SIZES, digest=DIGEST).save(tmp_path / "state.npz")
    assert load(tmp_path / "state.npz").ids == [[]]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    filled().save(tmp_path / "state.npz")
    return tmp_path / "state.npz"


def test_other_weights_are_refused(saved: Path) -> None:
    with pytest.raises(StateError, match=r"state\.npz: a state of other weights.*new_state"):
        load(saved, digest="f" * 64)
    with pytest.raises(StateError, match=r"conv\.npy: shape \(2, 3, 3, 5\); expected"):
        load(saved, SIZES._replace(d_conv=3))
    with pytest.raises(StateError, match=r"ids\.npy: holds ids that are not from 0 to 2"):
        State.load(saved, SIZES, digest=DIGEST, num_ids=3)


def rewritten(path: Path, changes: dict[str, bytes | None], compression: int = 0) -> None:
    """The file with other members in place of some, without some, or with more."""
    with zipfile.ZipFile(path) as archive:
        members: dict[str, bytes | None] = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in (members | changes).items():
            if data is not None:
                archive.writestr(zipfile.ZipInfo(name), data, compression)


def about(**changes: object) -> bytes:
    lengths = [len(row) for row in filled().ids]
    values = {"format_version": FORMAT_VERSION, "digest": DIGEST, "lengths": lengths}
    return json.dumps(values | changes).encode()


def npy(array: np.ndarray, tmp_path: Path) -> bytes:
    np.save(tmp_path / "array.npy", array)
    return (tmp_path / "array.npy").read_bytes()


ABOUT = {
    "no JSON": (b"{", "not JSON"),
    "deep JSON": (b"[" * 100_000, "nested more than"),
    "a list": (b"[]", "not a JSON object"),
    "another version": (about(format_version=2), "format_version is 2; this vimnp reads version 1"),
    "a true version": (about(format_version=True), "format_version is True"),
    "no digest": (about(digest=None), "other weights"),
    "a digest with a bell": (about(digest="\a" * 500), "other weights"),
    "negative lengths": (about(lengths=[-1, 9]), "lengths is no list"),
    "broken lengths": (about(lengths=[1.5, 2]), "lengths is no list"),
    "lengths by name": (about(lengths={"a": 1}), "lengths is no list"),
    "no rows": (about(lengths=[]), "there are no rows"),
    "fewer rows": (about(lengths=[4]), r"conv\.npy: shape \(2, 3, 3, 5\); expected \(1, 3"),
    "longer rows": (about(lengths=[4, 10**4000]), r"ids\.npy: shape"),
    "long": (about(more="x" * (1 << 20)), "longer than"),
}


@pytest.mark.parametrize("case", ABOUT)
def test_what_a_hostile_file_says_of_itself_is_refused(saved: Path, case: str) -> None:
    data, problem = ABOUT[case]
    rewritten(saved, {"state.json": data})
    with pytest.raises(StateError, match=problem) as caught:
        load(saved)
    assert str(caught.value).startswith(str(saved))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(saved)) + 400


def test_hostile_arrays_are_refused(saved: Path, tmp_path: Path) -> None:
    plain, whole = filled(), tmp_path / "whole.npz"
    shutil.copy(saved, whole)
    conv = np.stack(plain.conv, axis=1)
    cases: dict[str, tuple[bytes | None, str]] = {
        "missing": (None, "its members are not those of a state"),
        "float64": (npy(conv.astype(np.float64), tmp_path), "dtype"),
        "objects": (npy(np.array([{}]), tmp_path), "shape|dtype"),
        "order": (npy(np.asfortranarray(conv), tmp_path), "Fortran order True"),
        "not finite": (npy(np.full_like(conv, np.nan), tmp_path), "holds NaN or infinity"),
        "cut": (npy(conv, tmp_path)[:-4], "of another length"),
        "empty": (b"", r"no readable \.npy header"),
        "huge": (
            npy(conv, tmp_path).replace(b"(2, 3, 3, 5)", b"(2, 3, 3, 1 << 40)"),
            r"no readable \.npy header|shape",
        ),
    }
    for data, problem in cases.values():
        shutil.copy(whole, saved)
        rewritten(saved, {"conv.npy": data})
        with pytest.raises(StateError, match=problem):
            load(saved)
    shutil.copy(whole, saved)
    rewritten(saved, {"ids.npy": npy(np.full(10, -1, np.int32), tmp_path)})
    with pytest.raises(StateError, match=r"ids\.npy: holds ids that are not"):
        load(saved)
    rewritten(whole, {"more.npy": b""})
    with pytest.raises(StateError, match="its members are not"):
        load(whole)


def test_damaged_files_are_refused(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    for end in (0, 10, len(data) // 2, len(data) - 1):
        saved.write_bytes(data[:end])
        with pytest.raises(StateError, match=r"state\.npz: .*"):
            load(saved)
    place = data.index(b"NUMPY", data.index(b"ssm.npy")) + 200
    saved.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(StateError, match=r"ssm\.npy: .*CRC"):
        load(saved)
    saved.write_bytes(data)
    rewritten(saved, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(StateError, match="is compressed; expected it stored"):
        load(saved)


def test_a_file_that_is_none_is_refused(irregular: tuple[Path, str], tmp_path: Path) -> None:
    path, problem = irregular
    with pytest.raises(StateError, match=problem):
        load(path)
    for missing in (tmp_path / "missing.npz", Path("a\0b")):
        with pytest.raises(StateError):
            load(missing)
