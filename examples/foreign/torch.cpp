// LibTorch: each of eight bound goroutines trains a small model for 100 steps; the loss falls. What LibTorch keeps per thread (grad
// mode, the autograd engine's callbacks, the default of its random numbers' guard) stays right although all of them take
// turns at every call.
#include <torch/torch.h>
// LibTorch has macros of these names, too.
#undef CHECK
#undef CHECK_EQ
#include "foreign.h"

namespace {

constexpr uint64_t kGoroutines = 8;
constexpr int kSteps = 100;

// A model and its data. Every function below is one foreign call.
struct Job {
    uint64_t number = 0;
    torch::nn::Sequential model{nullptr};
    std::unique_ptr<torch::optim::SGD> optimizer;
    torch::Tensor x, y, loss;
    double loss_value = 0;
    bool grad_mode = false;
    pthread_t thread{};
    uint64_t hooks = 0;
};

// An exception must not cross the frames of the goroutine: it ends here.
template <void (*f)(Job &)> void *call(void *arg) {
    try {
        f(*static_cast<Job *>(arg));
    } catch (const std::exception &e) {
        fprintf(stderr, "torch: %s\n", e.what());
        _exit(1);
    }
    return nullptr;
}
template <void (*f)(Job &)> void run(Job &job) { execute_ffi_call(nullptr, CODE(call<f>), &job); }

// Language code, called by a hook of the autograd engine on the thread that runs the backward pass.
void *in_hook(void *arg) {
    auto *job = static_cast<Job *>(arg);
    job->hooks++;
    if (job->hooks % 10 == 0) OK(goroutine_sleep(50000));
    return nullptr;
}

void set_up(Job &job) {
    job.thread = pthread_self();
    // A generator of our own: the default one is shared by all threads.
    auto generator = at::make_generator<at::CPUGeneratorImpl>(job.number + 1);
    job.x = torch::rand({64, 4}, generator) * 2 - 1;
    job.y = (job.x.pow(2).sum(1, true) + static_cast<double>(job.number)) / 4;
    job.model = torch::nn::Sequential(torch::nn::Linear(4, 16), torch::nn::Tanh(), torch::nn::Linear(16, 1));
    {
        torch::NoGradGuard no_grad;
        for (auto &parameter : job.model->parameters())
            parameter.copy_(torch::rand(parameter.sizes(), generator) - 0.5);
    }
    job.model->parameters()[0].register_hook([&job](torch::Tensor gradient) {
        goroutine_callback_run(in_hook, &job);
        return gradient;
    });
    job.optimizer = std::make_unique<torch::optim::SGD>(job.model->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9));
    // Odd ones keep gradients off between their steps: a state of the thread, which others must not see.
    torch::GradMode::set_enabled(job.number % 2 == 0);
}
void look_at_mode(Job &job) {
    CHECK(pthread_equal(job.thread, pthread_self()));
    job.grad_mode = torch::GradMode::is_enabled();
}
void forward(Job &job) {
    torch::AutoGradMode on(true);
    job.optimizer->zero_grad();
    job.loss = torch::mse_loss(job.model->forward(job.x), job.y);
}
void backward(Job &job) {
    job.loss.backward();
    job.loss_value = job.loss.item<double>();
    CHECK(std::isfinite(job.loss_value));
}
void step(Job &job) { job.optimizer->step(); }
void evaluate(Job &job) {
    const auto out = job.model->forward(job.x);
    CHECK(out.requires_grad() == (job.number % 2 == 0)); // as the thread's mode says
    job.loss_value = torch::mse_loss(out, job.y).item<double>();
}
void tear_down(Job &job) {
    torch::GradMode::set_enabled(true); // the thread will serve others
    job.loss.reset();
    job.x.reset();
    job.y.reset();
    job.optimizer.reset();
    job.model = nullptr;
}

double final_losses[kGoroutines];

void *train(void *arg) {
    Job job;
    job.number = U(arg);
    run<set_up>(job);
    double first = 0;
    for (int i = 0; i < kSteps; i++) {
        run<look_at_mode>(job);
        CHECK_EQ(job.grad_mode, job.number % 2 == 0);
        run<forward>(job);
        goroutine_yield();
        run<backward>(job);
        if (i == 0) first = job.loss_value;
        if (i % 10 == 0) OK(goroutine_sleep(100000));
        run<step>(job);
    }
    CHECK_EQ(job.hooks, kSteps);
    run<evaluate>(job);
    CHECK(job.loss_value < first / 4);
    // The same numbers every time, whatever the others do meanwhile.
    double &before = final_losses[job.number];
    if (before == 0) before = job.loss_value;
    CHECK(std::abs(before - job.loss_value) < 1e-6 * before);
    run<tear_down>(job);
    return nullptr;
}

void round_of_all() { spawn_all(kGoroutines, train); }

} // namespace

int main(int argc, char **argv) {
    at::set_num_threads(1); // goroutines are the parallelism
    run_rounds(argc, argv, round_of_all, 16 << 20);
    for (uint64_t i = 0; i < kGoroutines; i++) CHECK(final_losses[i] > 0);
    OK(goroutine_runtime_wait(10 * SECOND));
    OK(goroutine_runtime_shutdown(10 * SECOND));
    return 0;
}
