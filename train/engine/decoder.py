"""SOLOv2 decoded by our CUDA kernels, on tensors of PyTorch: candidates, bit masks, matrix NMS, soft masks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from solo_rt.decoders import SoloV2Decoder
from solo_rt.gpu.kernels import (
    TYPES,
    BitMasks,
    Candidates,
    ConvShape,
    DeviceInstances,
    Kernels,
    NmsOptions,
    Workspace,
    logit_threshold,
)
from solo_rt.spec import ModelSpec


class DeviceDecoder:
    """Decodes heads of one size on the device they are on, into tensors that never move.

    `spec` is that of a model which decodes itself, and `outputs` the tensors of its `DetectionsDecoder` by name, which
    every `decode` writes anew. Memory is taken once, so that a CUDA graph may hold the calls.
    """

    def __init__(self, library: Kernels, spec: ModelSpec, heads: tuple[Tensor, Tensor, Tensor]) -> None:
        """Take memory for heads like those given: scores, kernels and features as `SoloV2Decoder` names them.

        Scores, and kernels and features together, are float32 or float16.
        """
        decoder = spec.decoder
        assert isinstance(decoder, SoloV2Decoder)
        scores, kernels, features = heads
        b, cells, e = kernels.shape
        h, w = features.shape[2:]
        k = decoder.nms_pre
        self.spec = replace(spec, decoder=decoder.detections())
        self._library, self._device, self._decoder = library, scores.device, decoder
        self._count = scores[0].numel()
        self._kinds = tuple(str(x.dtype).removeprefix("torch.") for x in heads)
        self._border = logit_threshold(decoder.mask_threshold)
        n, words = decoder.detections().max_instances, library.mask_words(h, w)

        sizes = (TYPES[self._kinds[1]], b, cells, e, h, w)
        self._conv = ConvShape(*sizes, k, len(spec.classes))
        self._soft = ConvShape(*sizes, n, 1)
        self._nms = NmsOptions(
            b, k, words, len(spec.classes), len(decoder.grids), decoder.grids, decoder.level_strides,
            decoder.nms_kernel == "linear", decoder.nms_sigma, decoder.update_threshold, n,
        )  # fmt: skip

        shapes = self.spec.output_shapes
        self.outputs = {
            name: self._memory(shape, getattr(torch, self.spec.decoder.output_type(name)))
            for name, shape in shapes.items()
        }
        self._candidate_scores, self._soft_sums = (self._memory((b, k), torch.float32) for _ in range(2))
        self._indices, self._areas = (self._memory((b, k), torch.int32) for _ in range(2))
        self._words = self._memory((b, k, words), torch.int32)
        self._cells, self._slots = (self._memory((b, n), torch.int32) for _ in range(2))
        self._work = self._memory(
            (
                max(
                    library.find_candidates_workspace(b, self._count),
                    library.binarise_masks_workspace(self._conv),
                    library.matrix_nms_workspace(self._nms),
                ),
            ),
            torch.uint8,
        )

    def decode(self, scores: Tensor, kernels: Tensor, features: Tensor) -> None:
        """Write `outputs` from heads like those that the memory was taken for. Raises: EngineError.

        On a GPU the work is enqueued on PyTorch's current stream, and the heads must live until it is done.
        """
        heads = (scores, kernels, features)
        assert all(
            x.is_contiguous() and str(x.dtype) == f"torch.{kind}" for x, kind in zip(heads, self._kinds, strict=True)
        )
        stream = torch.cuda.current_stream(self._device).cuda_stream if scores.is_cuda else 0
        workspace = Workspace(self._work.data_ptr(), self._work.nbytes)
        out = {name: tensor.data_ptr() for name, tensor in self.outputs.items()}
        candidates = Candidates(self._candidate_scores.data_ptr(), self._indices.data_ptr(), out["det_counts"])
        masks = BitMasks(self._words.data_ptr(), self._areas.data_ptr(), self._soft_sums.data_ptr())
        found = DeviceInstances(
            out["num_dets"], out["det_scores"], out["det_labels"], self._cells.data_ptr(), self._slots.data_ptr()
        )
        self._library.find_candidates(
            scores.data_ptr(), candidates, kind=TYPES[self._kinds[0]], batch=len(scores), count=self._count,
            threshold=self._decoder.score_threshold, slots=self._decoder.nms_pre, workspace=workspace, stream=stream,
        )  # fmt: skip
        self._library.binarise_masks(
            self._conv, masks, kernels=kernels.data_ptr(), features=features.data_ptr(), candidates=candidates,
            logit_threshold=self._border, workspace=workspace, stream=stream,
        )  # fmt: skip
        self._library.matrix_nms(
            self._nms, found, candidates=candidates, masks=masks, workspace=workspace, stream=stream
        )
        self._library.soft_masks(
            self._soft, found, kernels=kernels.data_ptr(), features=features.data_ptr(), words=masks.words,
            mask_slots=self._decoder.nms_pre, logit_threshold=self._border, regions=out["det_regions"],
            soft=out["det_masks"], stream=stream,
        )  # fmt: skip

    def _memory(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self._device)
