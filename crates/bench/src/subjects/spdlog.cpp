// A C interface to spdlog. Compiled by build.rs where spdlog is installed. Either an asynchronous logger with a thread
// of its own, which overwrites the oldest message when its queue is full, or a ring of messages that are below the
// logger's level (`enable_backtrace`), which overwrites the oldest one too.

#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/null_sink.h>

namespace {

struct AtWork {
    // None for a ring.
    std::shared_ptr<spdlog::details::thread_pool> threads;
    std::shared_ptr<spdlog::logger> logger;
    spdlog::level::level_enum level;
};

spdlog::sink_ptr open_sink(const char *path, std::size_t buffer_bytes) {
    if (path == nullptr) {
        return std::make_shared<spdlog::sinks::null_sink_mt>();
    }
    spdlog::file_event_handlers events;
    // stdio's default buffer is 4 KiB; all other subjects have larger ones.
    events.after_open = [buffer_bytes](const spdlog::filename_t &, std::FILE *file) {
        std::setvbuf(file, nullptr, _IOFBF, buffer_bytes);
    };
    return std::make_shared<spdlog::sinks::basic_file_sink_mt>(path, true, events);
}

} // namespace

// No exception may reach Rust: each function either can't throw or catches.
extern "C" {

// Returns null on failure, with the reason in `error`, which ends with a zero byte. With a null `path` the messages
// are dropped.
void *bench_spdlog_start(const char *path, std::size_t records, std::size_t buffer_bytes, char *error,
                         std::size_t error_bytes) {
    try {
        auto threads = std::make_shared<spdlog::details::thread_pool>(records, 1);
        auto logger = std::make_shared<spdlog::async_logger>(
            "bench", open_sink(path, buffer_bytes), threads,
            spdlog::async_overflow_policy::overrun_oldest);
        logger->set_pattern("%v");
        return new AtWork{std::move(threads), std::move(logger), spdlog::level::info};
    } catch (const std::exception &e) {
        std::snprintf(error, error_bytes, "%s", e.what());
        return nullptr;
    }
}

// The same for a ring of so many messages.
void *bench_spdlog_ring(std::size_t records, char *error, std::size_t error_bytes) {
    try {
        auto logger = std::make_shared<spdlog::logger>("bench", open_sink(nullptr, 0));
        logger->set_level(spdlog::level::info);
        logger->enable_backtrace(records);
        return new AtWork{nullptr, std::move(logger), spdlog::level::debug};
    } catch (const std::exception &e) {
        std::snprintf(error, error_bytes, "%s", e.what());
        return nullptr;
    }
}

// spdlog catches what its own functions throw.
void bench_spdlog_write(void *at_work, const char *bytes, std::size_t length) {
    auto *to = static_cast<AtWork *>(at_work);
    to->logger->log(to->level, spdlog::string_view_t(bytes, length));
}

std::size_t bench_spdlog_waiting(void *at_work) {
    auto &threads = static_cast<AtWork *>(at_work)->threads;
    return threads ? threads->queue_size() : 0;
}

// Waits until all messages are written and closes the file.
void bench_spdlog_end(void *at_work) {
    delete static_cast<AtWork *>(at_work);
}

} // extern "C"
