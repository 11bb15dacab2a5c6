/*
 * Google Benchmark for C. Its only use of C++; no exception leaves it.
 */
#include "gbench/gbench.h"

#include <benchmark/benchmark.h>

#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <strings.h>

struct gbench_state {
    benchmark::State &state;
    double seconds = 0.0;
};

namespace
{

/* A registered benchmark, by the name that the library gives to it. */
struct entry {
    gbench_functions functions;
    void *context;
    size_t repetitions;
    size_t reported;
};

std::map<std::string, entry> &registered()
{
    static std::map<std::string, entry> all;
    return all;
}

void report_one(benchmark::State &state, entry &one)
{
    gbench_state handle{state};
    one.functions.report(&handle, one.context, one.reported++ % one.repetitions);
    for (auto _ : state) {
        state.SetIterationTime(handle.seconds);
    }
}

/* The library divides by the mean for its aggregates, and writes what comes out: JSON has no NaN. */
void drop_not_finite(benchmark::UserCounters &counters)
{
    for (auto at = counters.begin(); at != counters.end();) {
        at = std::isfinite(at->second.value) ? std::next(at) : counters.erase(at);
    }
}

/* Hands on to another reporter, with the names as they were registered: the library adds how a benchmark is
 * timed. With a stream of its own it writes there instead of where the library says. */
class reporter final : public benchmark::BenchmarkReporter
{
  public:
    explicit reporter(benchmark::BenchmarkReporter *inner, std::ostream *stream = nullptr)
        : inner_(inner), stream_(stream)
    {
    }

    bool ReportContext(const Context &context) override
    {
        inner_->SetOutputStream(stream_ != nullptr ? stream_ : &GetOutputStream());
        inner_->SetErrorStream(&GetErrorStream());
        return inner_->ReportContext(context);
    }

    void ReportRuns(const std::vector<Run> &runs) override
    {
        std::vector<Run> renamed = runs;
        for (Run &run : renamed) {
            run.run_name.time_type.clear();
            run.run_name.iterations.clear();
            run.run_name.repetitions.clear();
            drop_not_finite(run.counters);
        }
        inner_->ReportRuns(renamed);
    }

    void Finalize() override
    {
        inner_->Finalize();
    }

  private:
    benchmark::BenchmarkReporter *inner_;
    std::ostream *stream_;
};

/* The value of `--name=value`, or NULL. */
const char *flag_value(const char *argument, const char *name)
{
    const size_t length = std::strlen(name);
    return std::strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1
                                                                                : nullptr;
}

/* The library ends the program, as if all were well, where one of these has another value. */
struct choice_flag {
    const char *name;
    std::vector<std::string> values;
};

const char *bad_flag(int count, char **arguments)
{
    const choice_flag flags[] = {
        {"--benchmark_format", {"console", "json", "csv"}},
        {"--benchmark_out_format", {"console", "json", "csv"}},
        {"--benchmark_time_unit", {"ns", "us", "ms", "s"}},
    };
    for (int i = 1; i < count; ++i) {
        for (const choice_flag &flag : flags) {
            const char *value = flag_value(arguments[i], flag.name);
            bool known = value == nullptr;
            for (const std::string &possible : flag.values) {
                known = known || possible == value;
            }
            if (!known) {
                return arguments[i];
            }
        }
    }
    return nullptr;
}

/* What the flags say about a file. Its name must be a string that outlives the arguments' rearrangement. */
struct output_flags {
    bool wanted = false;
    std::string format = "json";
};

/* The library shall not write the file itself: it would leave half of one behind when it is interrupted, and
 * say nothing of a full disk. It needs a name all the same, to use the reporter for files. */
output_flags take_output_flags(int count, char **arguments)
{
    static char nowhere[] = "--benchmark_out=/dev/null";
    output_flags flags;
    for (int i = 1; i < count; ++i) {
        if (flag_value(arguments[i], "--benchmark_out") != nullptr) {
            flags.wanted = true;
            arguments[i] = nowhere;
        } else if (const char *format = flag_value(arguments[i], "--benchmark_out_format")) {
            flags.format = format;
        }
    }
    return flags;
}

/* Seconds with a unit or without one, as the library that is linked wants them: 1.7 takes no unit, and from
 * 1.8 on it complains of a number without one. The strings live as long as the arguments. */
std::vector<std::string> spell_seconds(int count, char **arguments)
{
    const std::string flag = "--benchmark_min_time";
    std::vector<std::string> spelled(static_cast<size_t>(count));
    for (int i = 1; i < count; ++i) {
        const char *value = flag_value(arguments[i], flag.c_str());
        const size_t length = value == nullptr ? 0 : std::strlen(value);
        if (length > 0) {
            const std::string number(value, value[length - 1] == 's' ? length - 1 : length);
            std::string &text = spelled[static_cast<size_t>(i)];
            text = flag + "=" + number + GBENCH_SECONDS_UNIT;
            arguments[i] = text.data();
        }
    }
    return spelled;
}

std::unique_ptr<benchmark::BenchmarkReporter> make_file_reporter(const std::string &format)
{
    if (format == "console") {
        return std::make_unique<benchmark::ConsoleReporter>(benchmark::ConsoleReporter::OO_None);
    }
    if (format == "csv") {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        return std::make_unique<benchmark::CSVReporter>();
#pragma GCC diagnostic pop
    }
    return std::make_unique<benchmark::JSONReporter>();
}

/* As the library reads a flag that is true or false; without a value it is true. */
bool is_true(const std::string &value)
{
    for (const char *no : {"0", "f", "n", "false", "no", "off"}) {
        if (strcasecmp(value.c_str(), no) == 0) {
            return false;
        }
    }
    return value.size() != 1 || std::isalnum(static_cast<unsigned char>(value[0])) != 0;
}

/* The last flag counts, and before it the environment. */
bool wants_list(int count, char **arguments)
{
    const char *flag = "--benchmark_list_tests", *environment = std::getenv("BENCHMARK_LIST_TESTS");
    bool wanted = environment != nullptr && is_true(environment);
    for (int i = 1; i < count; ++i) {
        const char *value = flag_value(arguments[i], flag);
        wanted = value != nullptr ? is_true(value) : wanted || std::strcmp(arguments[i], flag) == 0;
    }
    return wanted;
}

/* Shows nothing. */
class silence final : public benchmark::BenchmarkReporter
{
  public:
    bool ReportContext(const Context &) override
    {
        return true;
    }

    void ReportRuns(const std::vector<Run> &) override
    {
    }
};

bool has_flag(int count, char **arguments, const char *name)
{
    for (int i = 1; i < count; ++i) {
        if (flag_value(arguments[i], name) != nullptr) {
            return true;
        }
    }
    return false;
}

/* What the filter leaves, by the names that the library has for them: it tells only by listing them. It keeps
 * a pointer to the program's name. */
std::vector<std::string> selected_names(char *program)
{
    char on[] = "--benchmark_list_tests=true", off[] = "--benchmark_list_tests=false";
    char *list[] = {program, on, nullptr}, *do_not[] = {program, off, nullptr};
    int count = 2;
    std::ostringstream text;
    silence quiet;
    quiet.SetOutputStream(&text);
    benchmark::Initialize(&count, list);
    benchmark::RunSpecifiedBenchmarks(&quiet, nullptr);
    count = 2;
    benchmark::Initialize(&count, do_not);
    std::vector<std::string> names;
    std::istringstream lines(text.str());
    for (std::string line; std::getline(lines, line);) {
        names.push_back(line);
    }
    return names;
}

/* As it was registered: without how it is timed. */
std::string plain_name(const std::string &name)
{
    return name.substr(0, name.find("/iterations:"));
}

void begin(const std::vector<std::string> &names)
{
    for (const std::string &name : names) {
        entry &one = registered().at(plain_name(name));
        one.reported = 0;
        if (one.functions.select != nullptr) {
            one.functions.select(one.context);
        }
    }
}

gbench_result fail(gbench_report *report, gbench_result result, const char *format, const char *what)
{
    std::snprintf(report->message, sizeof report->message, format, what);
    return result;
}

void keep_text(const std::string &text, gbench_report *report)
{
    report->text = static_cast<char *>(std::malloc(text.size() + 1));
    if (report->text == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(report->text, text.c_str(), text.size() + 1);
    report->length = text.size();
}

gbench_result run_all(int count, char **arguments, gbench_report *report)
{
    if (const char *flag = bad_flag(count, arguments)) {
        return fail(report, GBENCH_BAD_FLAG, "%.200s: no such value", flag);
    }
    const output_flags output = take_output_flags(count, arguments);
    const std::vector<std::string> seconds = spell_seconds(count, arguments);
    const bool list = wants_list(count, arguments);
    const bool shown = has_flag(count, arguments, "--benchmark_format");
    benchmark::Initialize(&count, arguments);
    if (count > 1) {
        return fail(report, GBENCH_BAD_FLAG, "%.200s: no such option", arguments[1]);
    }
    const std::vector<std::string> names = selected_names(arguments[0]);
    if (names.empty()) {
        return fail(report, GBENCH_NO_MATCH, "%s", "--benchmark_filter leaves nothing to run");
    }
    if (list) {
        for (const std::string &name : names) {
            std::puts(plain_name(name).c_str());
        }
        return GBENCH_DONE;
    }
    begin(names);
    std::ostringstream text;
    silence quiet;
    reporter display(shown ? benchmark::CreateDefaultDisplayReporter()
                           : &quiet); /* the first stays the library's */
    const std::unique_ptr<benchmark::BenchmarkReporter> writer = make_file_reporter(output.format);
    reporter file(writer.get(), &text);
    benchmark::RunSpecifiedBenchmarks(&display, output.wanted ? &file : nullptr);
    /* No Shutdown(): it frees what gbench_describe added, and leaves a pointer to it for the next run. */
    if (output.wanted) {
        keep_text(text.str(), report);
    }
    return GBENCH_DONE;
}

} // namespace

bool gbench_register(const char *name, const gbench_functions *functions, void *context, size_t repetitions)
{
    try {
        entry &one = registered()[name];
        one = entry{*functions, context, repetitions, 0};
        benchmark::RegisterBenchmark(name, [&one](benchmark::State &state) { report_one(state, one); })
            ->UseManualTime()
            ->Iterations(1)
            ->Repetitions(static_cast<int>(repetitions));
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

void gbench_clear(void)
{
    benchmark::ClearRegisteredBenchmarks();
    registered().clear();
}

void gbench_time(gbench_state *state, double seconds)
{
    state->seconds = seconds;
}

void gbench_skip(gbench_state *state, const char *message)
{
    state->state.SkipWithError(message);
}

void gbench_counter(gbench_state *state, const char *name, double value)
{
    if (std::isfinite(value)) {
        state->state.counters[name] = benchmark::Counter(value);
    }
}

void gbench_label(gbench_state *state, const char *label)
{
    state->state.SetLabel(label);
}

bool gbench_describe(const char *key, const char *value)
{
    try {
        benchmark::AddCustomContext(key, value);
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

gbench_result gbench_run(int count, char **arguments, gbench_report *report)
{
    *report = gbench_report();
    try {
        return run_all(count, arguments, report);
    } catch (const std::exception &error) {
        return fail(report, GBENCH_NO_MEMORY, "%.200s", error.what());
    }
}

void gbench_report_free(gbench_report *report)
{
    std::free(report->text);
    *report = gbench_report();
}
