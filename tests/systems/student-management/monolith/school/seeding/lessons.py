"""Subjects, who is enrolled, which lessons there were and who came, marks, assignments.

Most rows of a school are made here. They point to each other by id: setting objects takes twice the time.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from academics.models import Enrolment, Subject
from assessment.models import Assignment, AssignmentSubmission, StudentResult
from attendance.models import Attendance, AttendanceReport

from .words import NOW, TODAY, TOPICS, moment

SUBJECTS_A_STUDENT = 2
LESSONS_A_GROUP = 1
RESULT_EVERY = 4  # enrolments
SUBMISSION_EVERY = 10
STAMPS = {"created_at": NOW, "updated_at": NOW}


@dataclass
class Lessons:
    subjects: list
    enrolments: list
    reports: int
    results: int
    submissions: int

    def counts(self):
        return {
            "subjects": len(self.subjects),
            "enrolments": len(self.enrolments),
            "attendance reports": self.reports,
            "results": self.results,
            "submissions": self.submissions,
        }


def fill_lessons(dice, studies, people):
    subjects = Subject.objects.bulk_create(
        Subject(name=f"{topic} of {course.name}", course=course, staff=dice.choice(people.staff), **STAMPS)
        for course in studies.courses
        for topic in TOPICS
    )
    enrolments = _enrol(dice, subjects, people.students)
    reports = _attend(dice, enrolments)
    results = StudentResult.objects.bulk_create(
        StudentResult(
            student_id=enrolment.student_id,
            subject_id=enrolment.subject_id,
            exam_marks=dice.randint(0, 100),
            assignment_marks=dice.randint(0, 200) / 2,
            **STAMPS,
        )
        for enrolment in enrolments[::RESULT_EVERY]
    )
    submissions = _hand_in(dice, subjects, enrolments)
    return Lessons(subjects, enrolments, len(reports), len(results), len(submissions))


def _enrol(dice, subjects, students):
    of_course = defaultdict(list)
    for subject in subjects:
        of_course[subject.course_id].append(subject)
    return Enrolment.objects.bulk_create(
        Enrolment(
            student_id=student.pk,
            subject_id=subject.pk,
            session_year_id=student.session_year_id,
            enrolled_at=moment(dice),
        )
        for student in students
        for subject in dice.sample(of_course[student.course_id], SUBJECTS_A_STUDENT)
    )


def _attend(dice, enrolments):
    groups = defaultdict(list)
    for enrolment in enrolments:
        groups[enrolment.subject_id, enrolment.session_year_id].append(enrolment.student_id)
    lessons = Attendance.objects.bulk_create(
        Attendance(subject_id=subject, session_year_id=year, date=TODAY - timedelta(weeks=week), **STAMPS)
        for subject, year in groups
        for week in range(LESSONS_A_GROUP)
    )
    return AttendanceReport.objects.bulk_create(
        AttendanceReport(attendance_id=lesson.pk, student_id=student, present=dice.random() < 0.9, **STAMPS)
        for lesson in lessons
        for student in groups[lesson.subject_id, lesson.session_year_id]
    )


def _hand_in(dice, subjects, enrolments):
    assignments = Assignment.objects.bulk_create(
        Assignment(subject=subject, title=f"Essay on {subject.name}", due_on=TODAY + timedelta(days=14), **STAMPS)
        for subject in subjects
    )
    of_subject = {assignment.subject_id: assignment for assignment in assignments}
    return AssignmentSubmission.objects.bulk_create(
        AssignmentSubmission(
            assignment_id=of_subject[enrolment.subject_id].pk,
            student_id=enrolment.student_id,
            answer="See the text below.",
            submitted_at=moment(dice),
        )
        for enrolment in enrolments[::SUBMISSION_EVERY]
    )
