/*
 * Tests that take memory or threads away from a process.
 */
#ifndef SANITIZED_H
#define SANITIZED_H

/* A sanitizer's own part of a process needs far more than these limits leave. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif
#if defined(SANITIZED)
#define SKIP_UNDER_SANITIZER()                                                                               \
    do {                                                                                                     \
        print_message("skipped: a sanitizer needs more than this limit leaves\n");                           \
        skip();                                                                                              \
    } while (0)
#else
#define SKIP_UNDER_SANITIZER() ((void)0)
#endif

#endif
