#include "uberseg.h"

#include <string.h>

#include "clones.h"

/* Distance where there is no pixel to be near to; larger than any window. */
#define FAR 16384

ptrdiff_t uberseg_scratch(ptrdiff_t reach)
{
    const ptrdiff_t side = 2 * reach + 1;
    return 3 * side * side + 4 * side;
}

/* Copy the window, 0 outside the plane. */
static void copy_window(const int32_t *plane, ptrdiff_t ny, ptrdiff_t nx, ptrdiff_t x0, ptrdiff_t y0, ptrdiff_t side,
                        int32_t *labels)
{
    const ptrdiff_t begin = x0 < 0 ? -x0 : 0, end = nx - x0 < side ? nx - x0 : side;

    for (ptrdiff_t y = 0; y < side; y++) {
        int32_t *row = labels + y * side;
        if (y0 + y < 0 || y0 + y >= ny || begin >= end) {
            memset(row, 0, (size_t)side * sizeof *row);
            continue;
        }
        memset(row, 0, (size_t)begin * sizeof *row);
        memcpy(row + begin, plane + (y0 + y) * nx + x0 + begin, (size_t)(end - begin) * sizeof *row);
        memset(row + end, 0, (size_t)(side - end) * sizeof *row);
    }
}

/* Begin both distances: 0 in the object's own pixels and in others' ones; returns whether there are any of these. */
CLONES
static void begin_distances(const int32_t *restrict labels, ptrdiff_t n, int32_t number, int32_t *restrict own,
                            int32_t *restrict other, int32_t *any_own, int32_t *any_other)
{
    int32_t n_own = 0, n_other = 0;

    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t is_own = labels[i] == number, is_other = (labels[i] != 0) & !is_own;
        own[i] = is_own ? 0 : FAR;
        other[i] = is_other ? 0 : FAR;
        n_own |= is_own;
        n_other |= is_other;
    }
    *any_own = n_own;
    *any_other = n_other;
}

/* Distances along the columns, all columns at once. */
CLONES
static void spread_along_columns(int32_t *distance, ptrdiff_t side)
{
    for (ptrdiff_t y = 1; y < side; y++) {
        int32_t *restrict row = distance + y * side;
        const int32_t *restrict before = row - side;
        for (ptrdiff_t x = 0; x < side; x++)
            row[x] = before[x] + 1 < row[x] ? before[x] + 1 : row[x];
    }
    for (ptrdiff_t y = side - 2; y >= 0; y--) {
        int32_t *restrict row = distance + y * side;
        const int32_t *restrict after = row + side;
        for (ptrdiff_t x = 0; x < side; x++)
            row[x] = after[x] + 1 < row[x] ? after[x] + 1 : row[x];
    }
}

static inline int32_t squared(const int32_t *column, int32_t at, int32_t x)
{
    return (x - at) * (x - at) + column[at] * column[at];
}

/* Squared distances in a row from those along the columns: the lower envelope of one parabola per column, in linear
 * time (Meijster, Roerdink & Hesselink 2000).  `at` and `from` have a place per column. */
static void spread_along_row(const int32_t *column, int32_t side, int32_t *at, int32_t *from, int32_t *out)
{
    int32_t count = 0;

    for (int32_t u = 0; u < side; u++) {
        if (column[u] == FAR)
            continue;
        while (count > 0 && squared(column, at[count - 1], from[count - 1]) > squared(column, u, from[count - 1]))
            count--;
        if (count == 0) {
            at[0] = u;
            from[0] = 0;
            count = 1;
        } else {
            const int32_t i = at[count - 1];
            const int32_t excess = u * u - i * i + column[u] * column[u] - column[i] * column[i];
            const int32_t first = 1 + excess / (2 * (u - i));
            if (first < side) {
                at[count] = u;
                from[count] = first;
                count++;
            }
        }
    }
    for (int32_t part = 0; part < count; part++) {
        const int32_t end = part + 1 < count ? from[part + 1] : side, i = at[part], height = column[i] * column[i];
        for (int32_t x = from[part]; x < end; x++)
            out[x] = (x - i) * (x - i) + height;
    }
    if (count == 0)
        for (int32_t x = 0; x < side; x++)
            out[x] = FAR * FAR;
}

CLONES
static void decide(const int32_t *restrict labels, const int32_t *restrict own, const int32_t *restrict other,
                   ptrdiff_t n, int32_t number, uint8_t *restrict territory)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t foreign = (labels[i] != 0) & (labels[i] != number);
        territory[i] = (uint8_t)(foreign ? UBERSEG_NEIGHBOUR : other[i] < own[i] ? UBERSEG_NEARER : UBERSEG_KEPT);
    }
}

void uberseg_territory(const int32_t *plane, ptrdiff_t ny, ptrdiff_t nx, ptrdiff_t x, ptrdiff_t y, ptrdiff_t reach,
                       int32_t number, int32_t *scratch, uint8_t *territory)
{
    const ptrdiff_t side = 2 * reach + 1, n = side * side;
    int32_t *labels = scratch, *own = labels + n, *other = own + n, *at = other + n, *from = at + side;
    int32_t *own_row = from + side, *other_row = own_row + side, any_own, any_other;

    copy_window(plane, ny, nx, x - reach, y - reach, side, labels);
    begin_distances(labels, n, number, own, other, &any_own, &any_other);
    if (!any_other) {
        memset(territory, UBERSEG_KEPT, (size_t)n);
        return;
    }
    if (!any_own)
        own[n / 2] = 0;
    spread_along_columns(own, side);
    spread_along_columns(other, side);
    for (ptrdiff_t row = 0; row < side; row++) {
        spread_along_row(own + row * side, (int32_t)side, at, from, own_row);
        spread_along_row(other + row * side, (int32_t)side, at, from, other_row);
        decide(labels + row * side, own_row, other_row, side, number, territory + row * side);
    }
}
