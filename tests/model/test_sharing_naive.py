"""Background sharing against a naive version: dense n x n masks, nothing gathered, written from Algorithm 1 and from
the published code's order of events. It shares the model's layers and nothing of `sharing.py`."""

import pytest
import torch
from skimage.filters import threshold_otsu
from tiny_transformer import CONFIG, HEADS, LAYERS, WIDTH, make_inputs, predict

from posegen.model.block_arithmetic import rotate
from posegen.model.sharing import BackgroundSharing, SharingConfig
from posegen.model.subject import unit_otsu_threshold

GRID = (3, 4, 3)
VIDEO = 36


class Naive:
    """One segment's forwards; `source` is the anchor's `Naive` or None when this is the anchor."""

    def __init__(self, model, config, tokens, source=None):
        self.model, self.config, self.tokens, self.source = model, config, tokens, source
        self.key_values, self.maps = {}, []

    def forward(self, inputs, branch):
        model = self.model
        captured = {}
        hook = model.blocks[0].register_forward_pre_hook(lambda _, args: captured.update(args=args))
        predict(model, inputs)
        hook.remove()
        hidden, context, temb, rotary, reference_temb, _, images, _ = captured["args"]
        rows = [
            (block.scale_shift_table + row).chunk(6, dim=1) for row in (temb, reference_temb) for block in model.blocks
        ]
        if branch == "positive":
            self.maps = []
        with torch.no_grad():
            for index, block in enumerate(model.blocks):
                # one modulation per token
                mod = [
                    torch.cat([video.expand(-1, VIDEO, -1), reference.expand(-1, hidden.shape[1] - VIDEO, -1)], dim=1)
                    for video, reference in zip(rows[index], rows[LAYERS + index], strict=True)
                ]
                hidden = self.block(block, index, hidden, context, mod, rotary, images, branch)
            captured.clear()
            hook = model.blocks[-1].register_forward_hook(lambda *_: hidden)
            output = predict(model, inputs)  # its head only
            hook.remove()
        return output

    def block(self, block, index, hidden, context, mod, rotary, images, branch):
        attention, cross = block.attn1, block.attn2

        def heads(tensor):
            return tensor.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)

        normed = block.norm1(hidden) * (1 + mod[1]) + mod[0]
        query = heads(attention.norm_q(attention.to_q(normed)))
        key = heads(attention.norm_k(attention.to_k(normed)))
        value = heads(attention.to_v(normed))
        query, key = (rotate(part.transpose(1, 2), *rotary).transpose(1, 2) for part in (query, key))
        self.key_values[branch, index] = key, value

        def attend(key, value, mask):
            weights = torch.softmax(query @ key.transpose(-1, -2) / WIDTH**0.5 + mask[0], dim=-1) * mask[1]
            return attention.to_out[0]((weights @ value).transpose(1, 2).flatten(2))

        count = key.shape[2]
        nothing = torch.zeros(count, count), torch.ones(count, count)
        own = hidden + attend(key, value, nothing) * mod[2]

        def subject_map(states):
            query = heads(cross.norm_q(cross.to_q(block.norm2(states[:, :VIDEO]))))
            key = heads(cross.norm_k(cross.to_k(context[:, images:])))
            scores = (query @ key.transpose(-1, -2) / WIDTH**0.5).mean(1)[..., self.tokens]
            return scores

        paper = self.config.preset == "paper"
        shared = self.source is not None and index in self.config.layers
        if paper and branch == "positive":
            frames = subject_map(own).mean(-1).view(GRID)
            self.maps.append(
                torch.stack([(frame > threshold_otsu(frame.numpy())).float() for frame in frames]).flatten()
            )
        if shared:
            mask = self.mask(self, index if paper else index - 1)
            source_mask = self.mask(self.source, index)
            dense, weights = torch.zeros(count, count), torch.ones(count, count)
            subject = torch.nonzero(source_mask).flatten()
            if paper:
                weights[:, subject] = 0
            else:
                dense[subject[:, None], subject[None, :]] = -torch.inf
            other = hidden + attend(*self.source.key_values[branch, index], (dense, weights)) * mod[2]
            kept = torch.cat([mask | source_mask, torch.full((count - VIDEO,), paper)])
            own = torch.where(kept[None, :, None], own, other)

        video = own[:, :VIDEO]
        if not paper and branch == "positive":
            frames = subject_map(own).sum(-1).view(GRID)
            low, high = frames.amin((1, 2), keepdim=True), frames.amax((1, 2), keepdim=True)
            self.maps.append(((frames - low) / (high - low + 1e-6)).flatten())
        video = video + cross(block.norm2(video), context, None, None, num_image_tokens=images)
        hidden = torch.cat([video, own[:, VIDEO:]], dim=1)
        normed = block.norm3(hidden) * (1 + mod[4]) + mod[3]
        return hidden + block.ffn(normed) * mod[5]

    def mask(self, segment, last):
        """Subject mask from the maps of layers 0 … last."""
        maps = segment.maps[: last + 1]
        if self.config.preset == "paper":
            return torch.stack(maps).mean(0) >= 0.5
        mean = torch.stack(maps[: self.config.mask_layers]).mean(0).view(GRID[0], -1)
        return (mean > unit_otsu_threshold(mean)[:, None]).flatten()


@pytest.mark.parametrize("preset", ["paper", "release"])
@pytest.mark.parametrize(
    ("layers", "mask_layers", "tokens"),
    [([2, 3], 2, [2]), ([1, 2, 3], 4, [0, 4, 7]), ([1, 3], 1, [5, 5]), ([1, 2], 3, [11]), ([3], 3, [1, 2])],
)
def test_gathered_is_naive(model, preset, layers, mask_layers, tokens):
    config = SharingConfig(preset, [0], layers, mask_layers)
    sharing = BackgroundSharing(config, tokens)
    anchor, current = make_inputs(seed=4), make_inputs(seed=5)
    naive_anchor = Naive(model, config, tokens)
    naive = Naive(model, config, tokens, naive_anchor)
    assert CONFIG["num_layers"] == LAYERS
    for branch, sign in (("positive", 1), ("negative", -1)):
        text = sign * anchor.encoder_hidden_states
        actual = predict(model, anchor.but(encoder_hidden_states=text), sharing.record(0, branch))
        expected = naive_anchor.forward(anchor.but(encoder_hidden_states=text), branch)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    for branch, sign in (("positive", 1), ("negative", -1)):
        text = sign * current.encoder_hidden_states
        actual = predict(model, current.but(encoder_hidden_states=text), sharing.share(0, branch))
        expected = naive.forward(current.but(encoder_hidden_states=text), branch)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
