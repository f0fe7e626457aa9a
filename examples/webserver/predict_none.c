/* Without LibTorch. */
#include "webserver.h"

const bool predict_exists = false;
void *predict(void *prediction) {
    ((Prediction *)prediction)->ok = false;
    return NULL;
}
