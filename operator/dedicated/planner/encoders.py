"""What sits in front of a language model: towers that see and hear. Their weights, and what one pass of the engine's profiling takes."""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.planner.fields import Fields

DEFAULT_PATCH = 14
BYTES_PER_PATCH_AND_WIDTH = 32.0
"""
Peak bytes per patch and unit of width while a tower encodes. 2.51 GiB at Qwen2.5-VL-72B, whose largest picture has 65,536 patches of width 1,280
(vllm#16570), is 32; it puts Gemma 3 at 9.0 GiB where 9.96 was measured with its sampler (vllm PR #21489).
"""
QWEN_IMAGE_TOKENS = 16_384
"""Tokens of the largest picture that Qwen2-VL and its successors take (`max_pixels` 12,845,056 of their processors, by 28 x 28)."""

CROSS_SEQUENCES = 256
"""Sequences that the engine versions which serve Mllama take by default: vLLM dropped it after 0.10.2, when the default was this for every device."""


@dataclass(frozen=True)
class Tower:
    """
    A vision encoder.

    Args:
        parameters: Its weights, with the projector.
        patch_bytes: Peak bytes of one encoded patch.
        tokens_per_image: What the largest picture becomes for the language model.
        patches_per_token: Patches that become one token.
        cross_tokens: Tokens of one picture that are kept for each sequence, where the model looks at them by cross attention. (0: it does not)
    """

    parameters: int
    patch_bytes: float
    tokens_per_image: int
    patches_per_token: float
    cross_tokens: int = 0

    def activation_bytes(self, batched_tokens: int, max_num_seqs: int) -> float:
        """
        Peak bytes while the engine profiles the tower: as many of the largest pictures as fit into a batch, at least one.

        Source: vLLM 0.33 v1/worker/gpu_model_runner.py profile_run; Mllama keeps the states of one picture per sequence (vllm#10034, #10569).
        """
        if self.cross_tokens:
            return min(max_num_seqs, CROSS_SEQUENCES) * self.cross_tokens * self.patch_bytes
        pictures = max(1, batched_tokens // max(self.tokens_per_image, 1))
        return pictures * self.tokens_per_image * self.patches_per_token * self.patch_bytes


def tower_of(config: Fields, hidden: int) -> Tower | None:
    """The vision encoder that `vision_config` describes; None where there is none. (hidden: width of the language model)"""
    vision = config.under("vision_config")
    width = vision.integer("hidden_size", "embed_dim", "width")
    depth = vision.integer("depth", "num_hidden_layers", "layers")
    kind = vision.text("model_type")
    if kind.startswith("qwen2_vl"):
        width = vision.integer("embed_dim", default=1280)
    if not width:
        width, depth = _named(config, vision)
    if not width or not depth:
        return None
    if config.text("model_type") == "mllama":
        return _mllama(vision, width, depth, hidden)
    merge = max(vision.integer("spatial_merge_size", default=config.integer("spatial_merge_size", default=1)), 1)
    merged, out = width * merge * merge, vision.integer("out_hidden_size", default=hidden)
    projector = merged * merged + merged * out if merge > 1 else (width + hidden) * hidden
    mergers = 1 + len(vision.items("deepstack_visual_indexes"))
    tokens, per_token = _tokens(config, vision, merge)
    return Tower(_blocks(vision, width, depth) + projector * mergers, width * BYTES_PER_PATCH_AND_WIDTH, tokens, per_token)


def _named(config: Fields, vision: Fields) -> tuple[int, int]:
    """Towers whose configs say only what differs from their class: width and depth of SigLIP-so400m and of Pixtral."""
    if config.text("model_type") == "gemma3" and vision.raw():
        return 1152, 27
    return (1024, 24) if vision.text("model_type") == "pixtral" else (0, 0)


def _blocks(vision: Fields, width: int, depth: int) -> int:
    """Attention and feed-forward of every block, and the first projection of patches."""
    inner = vision.integer("intermediate_size", "mlp_hidden_dim", default=int(width * vision.number("mlp_ratio", default=4.0)))
    gated = vision.text("model_type") in ("qwen2_5_vl", "pixtral", "gemma4_vision")
    patch = vision.integer("patch_size", default=DEFAULT_PATCH)
    embedded = 3 * patch * patch * vision.integer("temporal_patch_size", default=1) * width
    return depth * (4 * width * width + (3 if gated else 2) * width * inner) + embedded


def _tokens(config: Fields, vision: Fields, merge: int) -> tuple[int, float]:
    """Tokens of the largest picture, and patches behind each of them."""
    patch = max(vision.integer("patch_size", default=DEFAULT_PATCH), 1)
    patches = (vision.integer("image_size", default=896 if config.text("model_type") == "gemma3" else 0) // patch) ** 2
    fixed = config.integer("mm_tokens_per_image", "vision_soft_tokens_per_image")
    if fixed and patches:
        return fixed, patches / fixed
    if patches:
        return max(patches // (merge * merge), 1), float(merge * merge)
    return QWEN_IMAGE_TOKENS, float(merge * merge)


def _mllama(vision: Fields, width: int, depth: int, hidden: int) -> Tower:
    """Llama 3.2 Vision: four tiles a picture, whose states of several layers are kept side by side for each sequence."""
    depth += vision.integer("num_global_layers", default=8)
    side = vision.integer("image_size", default=560) // max(vision.integer("patch_size", default=DEFAULT_PATCH), 1)
    tokens = vision.integer("max_num_tiles", default=4) * (side * side + 1)
    states = vision.integer("vision_output_dim", default=7680)
    return Tower(_blocks(vision, width, depth) + states * hidden, states * 2.0, tokens, 1.0, cross_tokens=tokens)


def sound_parameters(config: Fields) -> int:
    """Weights of the encoder that `audio_config` describes: blocks of attention and feed-forward; a conformer has twice that."""
    sound = config.under("audio_config")
    width, depth = sound.integer("hidden_size", "d_model"), sound.integer("num_hidden_layers", "encoder_layers", "conf_num_hidden_layers")
    conformer = sound.text("model_type").startswith("gemma")
    return depth * (24 if conformer else 12) * width * width
