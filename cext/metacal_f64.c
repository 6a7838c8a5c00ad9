#define REAL double
#define REAL_MASK int64_t
#define REAL_NAME(name) ISA_EXPAND(name##_f64, ISA)
#include "metacal_images.h"
