/* libfaketime 0.9.10 shifts the deadlines of sleeps by the monotonic clock though it leaves that clock alone, and every
   time.sleep of Python fails with EINVAL. Preloaded before it, this passes them to the kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *left)
{
    return syscall(SYS_clock_nanosleep, clock, flags, request, left) ? errno : 0;
}
