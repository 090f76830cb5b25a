#!/usr/bin/env python3
"""Makes the small random voices under tests/fixtures/vits/ and the sound PyTorch makes of them.

    python -m venv venv && venv/bin/pip install torch transformers onnx piper-tts
    venv/bin/python scripts/vits_fixture.py tests/fixtures/vits

Four Hugging Face folders ({single, multi}-{stochastic, plain}), as `VitsModel.save_pretrained`
writes them but for the weights that only training needs, and two Piper files of the high
quality's kind, as Piper's own exporter calls torch.onnx, with only the nodes that weights are read
from. Their weights are random numbers: they are nobody's voice. Beside each lies
`expected.json`: for some ids and a speaker, the frames and the sound with all noise off, and again
with noise that the file gives ([2, ids] for the durations, then [frames, channels]).
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from piper.train.vits.models import DurationPredictor, SynthesizerTrn
from transformers import VitsConfig, VitsModel

ALPHABET = "abcdefghij '-"
NOISE, DURATION_NOISE = 0.667, 0.8
# Frames per id are rounded up: no length may lie so close to a whole number that other arithmetic
# would round it differently.
MARGIN = 2e-3


def randomize(model, generator):
    """Weights that keep the signal's size from layer to layer, so that errors show in the sound."""
    for name, parameter in model.named_parameters():
        random = torch.randn(parameter.shape, generator=generator)
        if name.endswith("original0") or name.endswith("weight_g"):
            value = 1.0 + 0.2 * random
        elif any(part in name for part in ("norm", "gamma")) and name.endswith(("weight", "gamma")):
            value = 1.0 + 0.2 * random
        elif parameter.dim() >= 2 and "translate" not in name and not name.endswith((".m", ".logs", "log_scale")):
            fan_in = parameter[0].numel() if "emb" not in name else 4
            value = random / fan_in**0.5
        elif name.endswith((".m", "translate")):
            value = 0.2 * random - 1.0
        else:
            value = 0.1 * random
        # Left as it begins: an exporter stores equal weights once.
        if not name.endswith(("flows.3.convs.norms_1.0.gamma", "flows.5.convs.norms_1.0.gamma")):
            parameter.data.copy_(value)


class GivenNoise:
    """While entered, torch's normal numbers are those of one generator, and are kept."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = []

    def draw(self, *shape, **_):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        # Few digits, so that the file holds exactly what was drawn.
        random = torch.randn_of(*shape, generator=self.generator)
        self.drawn.append((random * 100).round() / 100)
        return self.drawn[-1]

    def __enter__(self):
        torch.randn_of, self.like = torch.randn, torch.randn_like
        torch.randn, torch.randn_like = self.draw, lambda x: self.draw(*x.shape)
        return self

    def __exit__(self, *_):
        torch.randn, torch.randn_like = torch.randn_of, self.like
        del torch.randn_of

    def in_order(self):
        """Durations' rows, then the prior frame by frame."""
        return [float(v) for x in self.drawn for v in (x[0] if x.shape[1] == 2 else x[0].T).flatten()]


def rounded(values):
    return [float(f"{value:.5g}") for value in values]


def expect(folder, ids, speaker, lengths, speak):
    """`speak(noise, duration_noise)` gives a sound; `lengths` collects exact lengths in frames."""
    quiet = speak(0.0, 0.0)
    quiet_frames = lengths.pop()
    with GivenNoise(5) as noise:
        noisy = speak(NOISE, DURATION_NOISE)
    noisy_frames = lengths.pop()
    for exact in (quiet_frames, noisy_frames):
        near = np.abs(exact - np.round(exact)).min()
        if near < MARGIN or exact.max() > 20 or exact.sum() < 2 * len(ids):
            return False
    level = np.abs(quiet).max()
    print(f"{folder.name}: {int(np.ceil(quiet_frames).sum())} frames, peak {level:.3f}")
    (folder / "expected.json").write_text(json.dumps({
        "ids": ids,
        "speaker": speaker,
        "frames": [int(n) for n in np.ceil(quiet_frames)],
        "sound": rounded(quiet),
        "noise_scale": NOISE,
        "duration_noise_scale": DURATION_NOISE,
        "noise": rounded(noise.in_order()),
        "noisy_frames": [int(n) for n in np.ceil(noisy_frames)],
        "noisy_sound": rounded(noisy),
    }) + "\n")
    return True


def keep_lengths(module, length_scale):
    """Collects the lengths in frames that a duration predictor asks for."""
    lengths = []
    module.register_forward_hook(
        lambda _m, _i, out: lengths.append(np.exp(out.detach().double().numpy()).flatten() * length_scale)
    )
    return lengths


def hugging_face(folder, speakers, stochastic):
    rate = 1.25
    config = VitsConfig(
        vocab_size=len(ALPHABET), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        window_size=3, ffn_dim=12, ffn_kernel_size=3, flow_size=8, spectrogram_bins=3,
        use_stochastic_duration_prediction=stochastic, num_speakers=speakers,
        speaker_embedding_size=6 if speakers > 1 else 0, upsample_initial_channel=12,
        upsample_rates=[4, 3], upsample_kernel_sizes=[8, 7], resblock_kernel_sizes=[3, 5],
        resblock_dilation_sizes=[[1, 3], [1, 2]], duration_predictor_num_flows=3,
        depth_separable_num_layers=2, duration_predictor_filter_channels=10,
        prior_encoder_num_flows=2, prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=1, wavenet_kernel_size=3, wavenet_dilation_rate=2,
        speaking_rate=rate, sampling_rate=16000, use_bias=stochastic,
    )
    ids = [0, 3, 0, 7, 0, 10, 0, 1, 0, 12, 0]
    speaker = speakers - 1
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(1000):
        torch.manual_seed(seed)
        model = VitsModel(config).eval()
        randomize(model, torch.Generator().manual_seed(seed))
        lengths = keep_lengths(model.duration_predictor, 1 / rate)

        def speak(noise, duration_noise):
            model.noise_scale, model.noise_scale_duration = noise, duration_noise
            with torch.no_grad():
                out = model(torch.tensor([ids]), speaker_id=speaker if speakers > 1 else None)
            return out.waveform[0].numpy()

        if expect(folder, ids, speaker, lengths, speak):
            break
    else:
        raise SystemExit("no random voice has clear lengths")
    # What only training needs is left out: most of the file.
    weights = {name: value for name, value in model.state_dict().items()
               if not name.startswith(("posterior_encoder.", "duration_predictor.post_"))}
    model.save_pretrained(folder, state_dict=weights)
    vocabulary = {character: n for n, character in enumerate(ALPHABET)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary) + "\n")
    tokenizer = {"add_blank": True, "is_uroman": False, "language": "eng", "normalize": True,
                 "phonemize": False, "tokenizer_class": "VitsTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer) + "\n")


def piper(folder, stochastic):
    """The high quality: two convolutions a step (ResBlock1); several speakers; tiny."""
    ids = [1, 0, 5, 0, 9, 0, 3, 0, 11, 0, 2]
    speakers, speaker = 3, 1
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(1000):
        torch.manual_seed(seed)
        model = SynthesizerTrn(
            n_vocab=12, spec_channels=3, segment_size=4, inter_channels=8, hidden_channels=8,
            filter_channels=12, n_heads=2, n_layers=1, kernel_size=3, p_dropout=0.1, resblock="1",
            resblock_kernel_sizes=(3, 5), resblock_dilation_sizes=((1, 3, 5), (1, 2, 4)),
            upsample_rates=(4, 2), upsample_initial_channel=16, upsample_kernel_sizes=(8, 4),
            n_speakers=speakers, gin_channels=6, use_sdp=stochastic,
        )
        if not stochastic:
            model.dp = DurationPredictor(8, 12, 3, 0.5, gin_channels=6)
        model.eval()
        randomize(model, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            model.dec.remove_weight_norm()
        lengths = keep_lengths(model.dp, 1.0)

        def speak(noise, duration_noise):
            with torch.no_grad():
                out = model.infer(
                    torch.tensor([ids]), torch.tensor([len(ids)]), sid=torch.tensor([speaker]),
                    noise_scale=noise, noise_scale_w=duration_noise,
                )
            return out[0][0, 0].numpy()

        if expect(folder, ids, speaker, lengths, speak):
            break
    else:
        raise SystemExit("no random voice has clear lengths")

    def forward(text, text_lengths, scales, sid=None):
        return model.infer(
            text, text_lengths, noise_scale=scales[0], length_scale=scales[1],
            noise_scale_w=scales[2], sid=sid,
        )[0].unsqueeze(1)

    model.forward = forward
    path = folder / "voice.onnx"
    torch.onnx.export(
        model, (torch.tensor([ids]), torch.tensor([len(ids)]),
                torch.tensor([NOISE, 1.0, DURATION_NOISE]), torch.tensor([0])),
        str(path), opset_version=15, dynamo=False,
        input_names=["input", "input_lengths", "scales", "sid"], output_names=["output"],
        dynamic_axes={"input": {0: "batch_size", 1: "phonemes"},
                      "input_lengths": {0: "batch_size"}, "output": {0: "batch_size", 2: "time"}},
    )
    exported = onnx.load(path)
    # Only what holds weights is read; without the rest the file is a tenth.
    kept = [node for node in exported.graph.node
            if node.op_type in ("Conv", "ConvTranspose", "Exp", "Gather", "Identity")]
    for node in kept:
        node.doc_string = ""
    del exported.graph.value_info[:]
    del exported.graph.node[:]
    exported.graph.node.extend(kept)
    onnx.save(exported, path)
    symbols = {symbol: [n] for n, symbol in enumerate("_^$ abcdefgh")}
    (folder / "voice.onnx.json").write_text(json.dumps({
        "audio": {"sample_rate": 22050}, "espeak": {"voice": "en-us"}, "phoneme_type": "espeak",
        "inference": {"noise_scale": NOISE, "length_scale": 1.0, "noise_w": DURATION_NOISE},
        "num_symbols": 12, "num_speakers": speakers, "phoneme_id_map": symbols,
        "speaker_id_map": {"first": 0, "second": 1, "third": 2},
    }) + "\n")


def main():
    root = Path(sys.argv[1])
    for kind, stochastic in (("stochastic", True), ("plain", False)):
        hugging_face(root / f"single-{kind}", 1, stochastic)
        hugging_face(root / f"multi-{kind}", 3, stochastic)
        piper(root / f"piper-{kind}", stochastic)


if __name__ == "__main__":
    main()
