"""The TransformerBlock of keras.io's text classification, twice: as it stands there, and with its mask handed on."""

import keras
from keras import layers


class TransformerBlock(layers.Layer):
    """Self attention and a feed-forward part, each with a residual and a norm."""

    def __init__(self, width: int, heads: int, inner: int, masks: bool) -> None:
        super().__init__()
        self.attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width // heads)
        self.feed = keras.Sequential([layers.Dense(inner, activation="relu"), layers.Dense(width)])
        self.first, self.second = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)
        self.supports_masking = masks  # without it Keras drops the mask behind this layer

    def call(self, inputs):
        attended = self.first(inputs + self.attention(inputs, inputs))
        return self.second(attended + self.feed(attended))


def _model(masks: bool) -> keras.Model:
    keras.utils.set_random_seed(0)
    ids = keras.Input((8,), dtype="int32", name="ids")
    x = layers.Embedding(40, 32, mask_zero=True)(ids)
    for _ in range(2):
        x = TransformerBlock(32, 4, 64, masks)(x)
    return keras.Model(ids, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def as_on_the_web() -> keras.Model:
    return _model(masks=False)


def mask_handed_on() -> keras.Model:
    return _model(masks=True)
