/* Copies of pictures from one place in device memory to another. */
#pragma once

#include "picture_cuda.h"

/* Copies the samples of `source` to `target`, a picture of the same size and format in memory of its own. Strides may
 * differ; padding is left alone. */
SOLO_CUDA_API int solo_cuda_copy_picture(const SoloPicture* source /* host */, const SoloPicture* target /* host */,
                                         void* stream);
