-- Number of Timeseries Tracked, of each detector.
SELECT detectorname AS detector, count(DISTINCT timeseriesid) AS series
FROM results
WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
GROUP BY detectorname
ORDER BY detector
