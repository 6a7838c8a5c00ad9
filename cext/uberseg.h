/* Which pixels around an object belong to another one, or are nearer to it. */
#ifndef SHAPEMPI_UBERSEG_H
#define SHAPEMPI_UBERSEG_H

#include <stddef.h>
#include <stdint.h>

/* Largest reach: squares of distances stay far from the limits of int32. */
#define UBERSEG_REACH 8000

enum { UBERSEG_KEPT = 0, UBERSEG_NEIGHBOUR = 1, UBERSEG_NEARER = 2 };

/* Integers that uberseg_territory needs. */
ptrdiff_t uberseg_scratch(ptrdiff_t reach);

/* Divide the window of 2 reach + 1 pixels centred on pixel (x, y) of a segmentation plane.
 *
 * The window may go beyond the plane, where no object is.  An object without pixels in the window has the one in its
 * centre.  A pixel at the same distance from the object and from another one is the object's. */
void uberseg_territory(const int32_t *plane, ptrdiff_t ny, ptrdiff_t nx, ptrdiff_t x, ptrdiff_t y, ptrdiff_t reach,
                       int32_t number, int32_t *scratch, uint8_t *territory);

#endif
