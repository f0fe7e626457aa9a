/* The second file of cpp_future. */
#ifndef PART_CPP_FUTURE_HPP
#define PART_CPP_FUTURE_HPP
#include <goroutine.hpp>
void all_of_it_elsewhere();
#endif
