/* stress_step, for every day: those that once failed, every third instruction. */
#define STEP_STRIDE 3
#define STEPS_MAX 450
#define STEP_SCENES(scene) (scene)->every_day
#include "stress_step.c"
