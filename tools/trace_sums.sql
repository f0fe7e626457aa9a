-- What Perfetto's trace processor makes of a trace, as sums to compare with those of tools/trace_check.py --sums. To Perfetto everything
-- that is shown on a track is a slice: instants are as long as 0, and what nothing ends is as long as -1.
select
    (select count(*) from slice) as shown,
    (select count(*) from slice join thread_track on slice.track_id = thread_track.id) as on_threads,
    (select ifnull(sum(dur), 0) from slice join thread_track on slice.track_id = thread_track.id) as ns_on_threads,
    (select count(*) from slice where dur < 0) as open,
    (select count(*) from flow) as flows,
    (select ifnull(group_concat(name, ' '), '') from
        (select name from thread where utid in (select utid from thread_track) order by name)) as threads,
    (select count(*) from thread where name is null and utid in (select utid from thread_track)) as without_a_name,
    (select count(*) from stats where severity in ('error', 'data_loss') and value > 0) as errors
