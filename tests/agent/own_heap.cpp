// A heap of its own behind operator new: no malloc, so that only the linker's wrapping of new and delete sees it.
#include <cstddef>
#include <new>

alignas(16) static char arena[1 << 16];
static std::size_t used;
int own_heap_frees;

static void *take(std::size_t bytes)
{
    void *block = arena + used;
    used += (bytes + 15) & ~std::size_t(15);
    if (used > sizeof arena) {
        throw std::bad_alloc();
    }
    return block;
}

void *operator new(std::size_t bytes) { return take(bytes); }
void operator delete(void *block) noexcept { own_heap_frees += block != nullptr; }

#if ALL_FORMS
void *operator new[](std::size_t bytes) { return take(bytes); }
void operator delete[](void *block) noexcept { own_heap_frees += block != nullptr; }
void operator delete(void *block, std::size_t) noexcept { own_heap_frees += block != nullptr; }
void operator delete[](void *block, std::size_t) noexcept { own_heap_frees += block != nullptr; }
#endif
