// A C interface to spdlog: an asynchronous logger with a thread of its own, which overwrites the oldest message
// when its queue is full. Compiled by build.rs where spdlog is installed.

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
    std::shared_ptr<spdlog::details::thread_pool> threads;
    std::shared_ptr<spdlog::async_logger> logger;
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
        return new AtWork{std::move(threads), std::move(logger)};
    } catch (const std::exception &e) {
        std::snprintf(error, error_bytes, "%s", e.what());
        return nullptr;
    }
}

// spdlog catches what its own functions throw.
void bench_spdlog_write(void *at_work, const char *bytes, std::size_t length) {
    static_cast<AtWork *>(at_work)->logger->log(spdlog::level::info,
                                                 spdlog::string_view_t(bytes, length));
}

std::size_t bench_spdlog_waiting(void *at_work) {
    return static_cast<AtWork *>(at_work)->threads->queue_size();
}

// Waits until all messages are written and closes the file.
void bench_spdlog_end(void *at_work) {
    delete static_cast<AtWork *>(at_work);
}

} // extern "C"
