#define REAL float
#define REAL_MASK int32_t
#define REAL_NAME(name) ISA_EXPAND(name##_f32, ISA)
#include "metacal_images.h"
