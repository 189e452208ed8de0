"""Sentences as vectors: the network all-MiniLM-L6-v2, run with plain numpy.

A BERT encoder of six layers, 12 heads and 384 numbers a token; a sentence's vector is the mean over its tokens, of
length one (Reimers and Gurevych, Sentence-BERT, 2019; Wang et al., MiniLM, 2020). It was trained on English.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WIDTH = 384
"""Numbers in one vector."""

FILES = ("config.json", "tokenizer.json", "model.safetensors")
"""What `Encoder.load` reads from its directory."""

_MAX_TOKENS = 128
# Sentences that run at once: more make the arrays leave the cache and are slower, not faster.
_BATCH = 32
_MASKED = np.float32(-1e9)

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Linear:
    """x @ weight + bias, the weight stored the way the product reads it."""

    weight: _Floats
    bias: _Floats

    def __call__(self, x: _Floats) -> _Floats:
        y: _Floats = x @ self.weight
        y += self.bias
        return y


@dataclass(frozen=True, slots=True)
class _Norm:
    """Layer normalisation over the last axis."""

    gain: _Floats
    bias: _Floats
    epsilon: np.float32

    def __call__(self, x: _Floats) -> _Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.einsum("...i,...i->...", centred, centred)[..., None] / np.float32(x.shape[-1])
        centred /= np.sqrt(variance + self.epsilon)
        centred *= self.gain
        centred += self.bias
        normed: _Floats = centred
        return normed


@dataclass(frozen=True, slots=True)
class _Layer:
    """Self-attention, then two dense layers, each added to what came in and normalised."""

    heads: int
    query_key_value: _Linear
    mixed: _Linear
    after_attention: _Norm
    wide: _Linear
    narrow: _Linear
    after_dense: _Norm

    def __call__(self, x: _Floats, hidden: _Floats) -> _Floats:
        """Of (n, tokens, width) and an addend (n, 1, 1, tokens) that hides the padding, (n, tokens, width)."""
        n, tokens, width = x.shape
        each = width // self.heads
        parts = self.query_key_value(x).reshape(n, tokens, 3, self.heads, each).transpose(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        attention = query @ key.transpose(0, 1, 3, 2)
        attention += hidden
        attention -= attention.max(axis=-1, keepdims=True)
        np.exp(attention, out=attention)
        attention /= attention.sum(axis=-1, keepdims=True)
        seen = (attention @ value).transpose(0, 2, 1, 3).reshape(n, tokens, width)
        x = self.after_attention(x + self.mixed(seen))
        return self.after_dense(x + self.narrow(_gelu(self.wide(x))))


class Encoder:
    """Turns English sentences into vectors whose product says how near their meanings are.

    Nothing in it changes after it was made, so threads may share one.
    """

    def __init__(self, tensors: dict[str, _Floats], tokenizer: Tokenizer, *, heads: int, epsilon: float) -> None:
        self._tokenizer = tokenizer
        small = np.float32(epsilon)

        def linear(name: str) -> _Linear:
            return _Linear(np.ascontiguousarray(tensors[f"{name}.weight"].T), tensors[f"{name}.bias"])

        def norm(name: str) -> _Norm:
            return _Norm(tensors[f"{name}.weight"], tensors[f"{name}.bias"], small)

        def layer(prefix: str) -> _Layer:
            inside = f"{prefix}.attention.self"
            query, key, value = (linear(f"{inside}.{part}") for part in ("query", "key", "value"))
            # Attention divides by the root of a head's width; in the query's weights that costs nothing.
            root = np.float32(np.sqrt(query.weight.shape[1] // heads))
            together = _Linear(
                np.concatenate([query.weight / root, key.weight, value.weight], axis=1),
                np.concatenate([query.bias / root, key.bias, value.bias]),
            )
            return _Layer(
                heads=heads,
                query_key_value=together,
                mixed=linear(f"{prefix}.attention.output.dense"),
                after_attention=norm(f"{prefix}.attention.output.LayerNorm"),
                wide=linear(f"{prefix}.intermediate.dense"),
                narrow=linear(f"{prefix}.output.dense"),
                after_dense=norm(f"{prefix}.output.LayerNorm"),
            )

        count = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")})
        self._words = tensors["embeddings.word_embeddings.weight"]
        # Every sentence is of the first type: its vector can be added to the positions' once and for all.
        self._places = (
            tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        self._entrance = norm("embeddings.LayerNorm")
        self._layers = tuple(layer(f"encoder.layer.{index}") for index in range(count))

    @classmethod
    def load(cls, directory: Path) -> Encoder:
        """Read the files named in `FILES` from `directory` (about 0.2 s and 90 MB of memory).

        Raises:
            MatteboxError: UNAVAILABLE where a file is missing or not what it should be, or a package is missing.
        """
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise _unavailable("needs the packages tokenizers and safetensors") from error
        if missing := [name for name in FILES if not (directory / name).is_file()]:
            raise _unavailable(f"is not complete: {', '.join(missing)} is missing")
        try:
            config = json.loads((directory / "config.json").read_text("utf-8"))
            written = json.loads((directory / "tokenizer.json").read_text("utf-8"))
            # The file asks for 128 tokens always, which is three times the work for a short prompt.
            tokenizer = _tokenizer(Tokenizer, json.dumps(written | {"padding": None}))
            tokenizer.enable_truncation(_MAX_TOKENS)
            tensors = load_file(directory / "model.safetensors")
            floats = {name: np.asarray(value, np.float32) for name, value in tensors.items() if value.dtype.kind == "f"}
            return cls(
                floats, tokenizer, heads=int(config["num_attention_heads"]), epsilon=float(config["layer_norm_eps"])
            )
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise _unavailable("cannot be read") from error

    def __call__(self, texts: Sequence[str]) -> _Floats:
        """The vectors (n, 384) of n texts, float32, each of length one. Only the first 128 tokens of a text count."""
        result = np.empty((len(texts), WIDTH), np.float32)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        # Texts of like length together, so that little of a batch is padding.
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            result[chosen] = self._run([ids[index] for index in chosen])
        return result

    def knows(self, word: str) -> bool:
        """Whether the word is one piece to the tokenizer, as common English words are and made-up ones are not."""
        return len(self._tokenizer.encode(word, add_special_tokens=False).ids) == 1

    def _run(self, ids: Sequence[Sequence[int]]) -> _Floats:
        lengths = np.array([len(row) for row in ids])
        longest = int(lengths.max())
        tokens = np.zeros((len(ids), longest), np.intp)
        for row, values in zip(tokens, ids, strict=True):
            row[: len(values)] = values
        present = (np.arange(longest) < lengths[:, None]).astype(np.float32)
        hidden = ((1 - present) * _MASKED)[:, None, None, :]
        x = self._entrance(self._words[tokens] + self._places[:longest])
        for layer in self._layers:
            x = layer(x, hidden)
        summed: _Floats = np.einsum("ntd,nt->nd", x, present)
        # The mean and the sum point the same way, and only the direction stays.
        summed /= np.linalg.norm(summed, axis=1, keepdims=True)
        return summed


def _tokenizer(made: type[Tokenizer], text: str) -> Tokenizer:
    """Raises ValueError where the text describes no tokenizer."""
    try:
        return made.from_str(text)
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ValueError(str(error)) from error


def _unavailable(why: str) -> MatteboxError:
    return MatteboxError(Kind.UNAVAILABLE, f"The network that reads prompts {why}.", parameter="prompt")


def _gelu(x: _Floats) -> _Floats:
    """x times the normal distribution function of x.

    numpy has no error function. This one is Abramowitz and Stegun's 7.1.26, off by 1.5e-7 at most: float32's own
    precision.
    """
    z = np.abs(x)
    z *= np.float32(np.sqrt(0.5))
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
    polynomial = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial *= t
        polynomial += np.float32(coefficient)
    polynomial *= t
    np.multiply(z, -z, out=z)
    polynomial *= np.exp(z)  # 1 - erf(|x| / sqrt 2)
    # For x >= 0 the distribution is 1 - half of that, for x < 0 it is half of that.
    half = np.float32(0.5) * polynomial
    result: _Floats = x * np.where(x >= 0, np.float32(1) - half, half)
    return result
