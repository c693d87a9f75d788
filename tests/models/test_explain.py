"""What patches contribute to a class: sums that are the logit, held against the scan itself."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vimnp
from tests.support.options import OPTIONS
from vimnp.errors import ConfigError
from vimnp.models.parameters import Norm
from vimnp.models.vim.explain import linear_reading, sweep
from vimnp.models.vim.network import ParameterSet
from vimnp.ops.reference import selective_scan

SMALL = vimnp.VimConfig(
    img_size=(32, 48), patch_size=16, stride=8, embed_dim=24, depth=3, num_classes=7
)


def small(backend="numpy", **options):
    return vimnp.VisionMamba.random(
        3, config=dataclasses.replace(SMALL, **options), backend=backend, num_threads=1
    )


def picture(model, seed=0):
    shape = (model.config.channels, *model.config.img_size)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ROTATED = {name for name, option in OPTIONS.items() if option.get("if_rope")}
READS_EVERY_TOKEN = {
    name
    for name, option in OPTIONS.items()
    if option.get("final_pool_type") in ("max", "all") and not option.get("if_cls_token", True)
}
EXPLICABLE = sorted(set(OPTIONS) - ROTATED - READS_EVERY_TOKEN)


@pytest.mark.parametrize("name", EXPLICABLE)
def test_contributions_and_the_rest_are_the_score(name):
    model = small(**OPTIONS[name])
    image = picture(model)
    for target in (None, 0, 6):
        found = model.explain(image, target)
        logits = model(image).astype(np.float64)
        assert found.index == (int(logits.argmax()) if target is None else target)
        score = logits[found.index] - logits.mean()
        assert found.score == pytest.approx(score, abs=1e-6)
        # Float32 sums of some thousand terms, each below 1.
        assert found.contributions.sum(dtype=np.float64) + found.rest == pytest.approx(
            score, abs=5e-6
        )
        layers = model.config.num_active_layers
        assert found.contributions.shape == (layers, *model.config.grid_size)
        np.testing.assert_allclose(found.map, found.contributions.sum(axis=0))


@pytest.mark.parametrize("name", ["default", "flip", "bidirectional", "bias"])
def test_both_backends_and_any_number_of_threads_explain_alike(name):
    image = picture(small(**OPTIONS[name]))
    of_numpy, one = (small(backend=b, **OPTIONS[name]).explain(image, 2) for b in ("numpy", "auto"))
    np.testing.assert_allclose(one.contributions, of_numpy.contributions, rtol=0, atol=1e-6)
    many = small(backend="auto", **OPTIONS[name]).with_settings(num_threads=3).explain(image, 2)
    np.testing.assert_array_equal(many.contributions, one.contributions)
    assert many.rest == one.rest


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 9),
    channels=st.integers(1, 6),
    d_state=st.integers(1, 4),
    flips=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_sweep_finds_what_the_scan_of_one_token_alone_gives(
    length, channels, d_state, flips, seed
):
    rng = np.random.default_rng(seed)
    config = dataclasses.replace(SMALL, embed_dim=channels, expand=1, d_state=d_state, dt_rank=1)
    d = ParameterSet.__new__(ParameterSet)
    d.u, d.delta, seeds = rng.standard_normal((3, length, channels)).astype(np.float32)
    d.B, d.C = rng.standard_normal((2, length, d_state)).astype(np.float32)
    direction = vimnp.VisionMamba.random(config=config, backend="numpy")._network._parameters
    direction = direction.layers[0].directions[0]
    found = sweep(direction, d, seeds, flips)
    step = -1 if flips else 1
    for token in range(length):
        alone = np.zeros((length, channels))
        alone[token] = d.u[token]
        y = selective_scan(
            alone[::step].T[None],
            d.delta[::step].T[None].astype(np.float64),
            direction.A.T.astype(np.float64),
            d.B[::step].T[None].astype(np.float64),
            d.C[::step].T[None].astype(np.float64),
            direction.D.astype(np.float64),
            delta_bias=direction.dt_bias.astype(np.float64),
            delta_softplus=True,
        )
        expected = (y[0].T[::step] * seeds).sum(axis=0)
        np.testing.assert_allclose(found[token], expected, rtol=1e-4, atol=2e-5)


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 20), has_bias=st.booleans(), seed=st.integers(0, 1000))
def test_a_linear_reading_is_what_the_norm_gives(size, has_bias, seed):
    token, weights, weight, bias = np.random.default_rng(seed).standard_normal((4, size))
    norm = Norm(weight, bias if has_bias else None, 1e-5)
    if has_bias:
        normed = (token - token.mean()) / np.sqrt(token.var() + 1e-5) * weight + bias
    else:
        normed = token / np.sqrt((token**2).mean() + 1e-5) * weight
    of_token, constant = linear_reading(norm, token, weights)
    assert of_token @ token + constant == pytest.approx(weights @ normed, abs=1e-9)


@pytest.mark.parametrize(
    "name", ["default", "double_tokens", "head_token", "last", "flip", "bidirectional"]
)
def test_hidden_attention_is_shares(name):
    model = small(**OPTIONS[name])
    found = model.hidden_attention(picture(model))
    assert found.shape == (model.config.num_active_layers, *model.config.grid_size)
    assert (found >= 0).all()
    sums = found.sum(axis=(1, 2))
    if model.config.class_tokens:
        assert (sums < 1).all()
    else:
        np.testing.assert_allclose(sums, 1, atol=1e-6)


def test_forward_only_attention_ends_at_the_token():
    model = small(bimamba_type="none")  # the class token is in the middle, and sees what is before
    found = model.hidden_attention(picture(model)).reshape(model.config.num_active_layers, -1)
    middle = next(iter(model.config.class_tokens.values()))
    assert (found[:, middle:] == 0).all()
    assert (found[:, :middle] > 0).all()


def test_step_sizes_are_the_means_of_delta():
    model = small()
    found = model.step_sizes(picture(model))
    assert found.shape == (3, *model.config.grid_size)
    assert (found > 0).all()
    np.testing.assert_allclose(
        found, small(backend="auto").step_sizes(picture(model)), rtol=1e-5, atol=0
    )


def test_a_class_by_its_name():
    model = vimnp.load("digits")
    image = picture(model)
    assert model.explain(image, "7").index == 7
    with pytest.raises(ConfigError, match="there is no class 'seven'; expected one such as '0'"):
        model.explain(image, "seven")
    with pytest.raises(ConfigError, match="the weights name no classes; expected an index, 0 to 6"):
        small().explain(picture(small()), "7")


@pytest.mark.parametrize("target", [-1, 7, 1.5, True])
def test_no_such_class(target):
    with pytest.raises(ConfigError, match=r"target is .*expected"):
        small().explain(picture(small()), target)


def test_what_cannot_be_explained_is_refused_by_name():
    image = picture(small())
    with pytest.raises(ConfigError, match="if_rope"):
        small(if_rope=True).explain(image)
    with pytest.raises(ConfigError, match="no head"):
        small(num_classes=0).explain(image)
    with pytest.raises(ConfigError, match="logits for every token"):
        small(if_cls_token=False, final_pool_type="all").explain(image)
    with pytest.raises(ConfigError, match="reads all tokens"):
        small(if_cls_token=False).hidden_attention(image)
    int8 = vimnp.VisionMamba.random(config=SMALL, precision="int8")
    for method in (int8.explain, int8.hidden_attention):
        with pytest.raises(ConfigError, match="precision 'int8'"):
            method(image)
